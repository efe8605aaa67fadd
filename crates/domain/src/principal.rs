//! Who asks.

use crate::ids::{FunctionName, InstanceId, TenantId};
use serde::{Deserialize, Serialize};

/// The one on whose behalf a call is made; travels with every call and every storage access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// A part of the platform acting for itself (recovery, reconciling, metering).
    Platform {
        /// The component, `queue`, for the audit trail.
        component: String,
    },
    /// The tenant's root key.
    Root {
        /// The account.
        tenant: TenantId,
        /// The access key id that signed.
        key: String,
    },
    /// A running instance, by credentials that are bound to it and die with it.
    Instance {
        /// The account.
        tenant: TenantId,
        /// The role that the function was given, as the tenant wrote it.
        role: String,
        /// The function that the instance runs.
        function: FunctionName,
        /// The instance.
        instance: InstanceId,
    },
    /// A service principal such as a trigger, `s3.amazonaws.com`, acting for a tenant's resource.
    Service {
        /// The account of the resource on whose behalf the service acts.
        tenant: TenantId,
        /// The service's name.
        name: String,
        /// The resource that caused the call, as the wire writes it.
        source: Option<String>,
    },
    /// Nobody in particular: an unsigned call to a public URL.
    Anonymous,
}

impl Principal {
    /// A part of the platform acting for itself.
    pub fn platform(component: &str) -> Self {
        Self::Platform {
            component: component.to_owned(),
        }
    }

    /// The tenant that the principal belongs to; `None` for the platform and for nobody.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Root { tenant, .. }
            | Self::Instance { tenant, .. }
            | Self::Service { tenant, .. } => Some(tenant),
            Self::Platform { .. } | Self::Anonymous => None,
        }
    }

    /// Whether the principal may touch stored things of `tenant` at all: its own tenant or the
    /// platform. What it may do there is for policies to say.
    pub fn reaches(&self, tenant: &TenantId) -> bool {
        matches!(self, Self::Platform { .. }) || self.tenant() == Some(tenant)
    }
}
