//! Unpacked packages, for whoever makes instances.

use crate::{BoxFuture, ids::Digest, ids::TenantId};
use std::{os::fd::OwnedFd, sync::Arc};

/// Hands out unpacked package trees.
pub trait Packages: Send + Sync {
    /// An `O_PATH` descriptor of the unpacked tree of `digest`, unpacking it first where it is not
    /// on disk (anymore).
    ///
    /// Errors: [`PackageError`].
    fn open(
        &self,
        tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<Arc<OwnedFd>, PackageError>>;
}

/// Why a package cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Its archive is not in the store.
    #[error("package {digest} is not in the store")]
    Missing {
        /// Which.
        digest: Digest,
    },
    /// Its archive breaks a rule; the text names the entry and the rule.
    #[error("the archive was refused: {reason}")]
    Refused {
        /// Which rule, on which entry.
        reason: String,
    },
    /// The disk or the unpacking child failed.
    #[error("package {digest} could not be unpacked: {reason}")]
    Failed {
        /// Which.
        digest: Digest,
        /// Why.
        reason: String,
    },
}
