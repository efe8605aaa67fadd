//! Credentials that are bound to tenant, role and instance, and die with it.

use crate::{
    ids::{FunctionRef, InstanceId},
    time::Mono,
};

/// What an instance signs with.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey {
    /// `ASIA…`, 20 characters.
    pub access_key_id: String,
    /// The secret.
    pub secret: String,
    /// The token that goes along with every call.
    pub session_token: String,
    /// When it ends on its own: by the node's own time, since a step of the wall clock would end
    /// the sessions of every instance at once, or keep them for ever.
    pub ends: Mono,
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionKey({}, secret withheld)", self.access_key_id)
    }
}

/// Issues and ends the credentials of instances. Never waits.
pub trait InstanceCredentials: Send + Sync {
    /// New credentials for an instance of `function` with `role`.
    fn issue(&self, function: &FunctionRef, role: &str, instance: InstanceId) -> SessionKey;
    /// Ends them; a call that is signed with them is refused from here on.
    fn revoke(&self, instance: InstanceId);
}
