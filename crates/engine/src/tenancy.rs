//! Tenants as the engine sees them: limits of their own, or disabled.
//!
//! The store's watch tells, before the write returns. What a disabled tenant runs is ended at once:
//! whoever calls hears [`InvokeError::TenantDisabled`], and its instances, free, busy or in their
//! init, are ended with all their credentials. Nothing of it starts until it is enabled, and then from
//! its records, as at the first call; a version that is being published waits for that.
//!
//! [`InvokeError::TenantDisabled`]: freehold_domain::outcome::InvokeError::TenantDisabled

use crate::{admission::Standing, node::Node};
use freehold_domain::{
    ids::TenantId,
    ports::Stored,
    record::{TenantV2, decode},
    tenant_limits::{TenantLimit, TenantLimits},
};
use std::sync::Arc;

/// Takes a tenant's record over. Synchronous and short: it runs inside the store's commit.
pub(crate) fn note(node: &Arc<Node>, tenant: &TenantId, stored: Option<&Stored>) {
    let record = stored.map(|stored| decode::<TenantV2>(&stored.bytes));
    let mut limits = TenantLimits::default();
    let standing = match record {
        None => Standing::default(),
        Some(Ok(record)) => {
            limits = record.limits;
            let concurrency = limits.own(TenantLimit::Concurrency);
            Standing {
                is_disabled: !record.enabled,
                concurrency: concurrency.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
                sync_invocations: limits.sync_invocations(),
            }
        }
        // What cannot be told is not allowed.
        Some(Err(error)) => {
            tracing::error!(%tenant, %error, "a tenant's record does not read; it is disabled");
            Standing {
                is_disabled: true,
                ..Standing::default()
            }
        }
    };
    node.parts.tenants.note(tenant, limits);
    node.parts.answers.reconfigured();
    let before = node.admission.set_standing(tenant, standing);
    match (before.is_disabled, standing.is_disabled) {
        (false, true) => end_all(node, tenant),
        // What was routed meanwhile was not brought up.
        (true, false) => node.routes.forget(node, tenant),
        _ => {}
    }
}

/// Ends every instance of a tenant, which is known to be disabled by now: who waits and asks again is
/// told so.
///
/// The routes go last. A revision that somebody makes meanwhile is either among those that are closed
/// here, and then its route goes or is not kept; or it is made after, and may serve when the tenant is
/// enabled again.
fn end_all(node: &Arc<Node>, tenant: &TenantId) {
    let revisions = node.revisions().into_iter();
    for revision in revisions.filter(|revision| revision.function.tenant == *tenant) {
        revision.close(node);
    }
    // An instance's end takes a while, in which the tenant may be enabled again.
    node.parts.credentials.revoke_all(tenant);
    node.routes.forget(node, tenant);
}
