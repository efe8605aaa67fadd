//! Sealing of secrets at rest.

use crate::record::Sealed;

/// Seals and opens secrets with the node's keys. Never waits.
pub trait Sealer: Send + Sync {
    /// Seals `plain`; only the same `context` opens it again.
    fn seal(&self, plain: &[u8], context: &str) -> Sealed;
    /// Opens what was sealed.
    ///
    /// Errors: [`SealError`] for an unknown key, a wrong context, changed bytes.
    fn open(&self, sealed: &Sealed, context: &str) -> Result<Vec<u8>, SealError>;
}

/// A sealed secret that does not open. Says nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a secret sealed with key {key} for {context} does not open")]
pub struct SealError {
    /// The key that sealed it.
    pub key: u32,
    /// What it was sealed for.
    pub context: String,
}
