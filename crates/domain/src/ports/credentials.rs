//! Credentials that are bound to tenant, role and instance, and die with it.

use crate::{
    ids::{FunctionRef, InstanceId, TenantId},
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
    /// What the instance shows to be told its session again. It is the instance's, not the
    /// session's: sessions that follow have the same one.
    pub endpoint_token: String,
    /// When it ends on its own: by the node's own time, since a step of the wall clock would end
    /// the sessions of every instance at once, or keep them for ever.
    pub ends: Mono,
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionKey({}, secret withheld)", self.access_key_id)
    }
}

/// What an instance is brought up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionUse {
    /// Invocations.
    Invocations,
    /// The memory of its init becomes a start image, and it ends: what it was told is what the image's
    /// instances begin with, at any later time.
    StartImage,
}

/// Issues and ends the credentials of instances. Never waits.
pub trait InstanceCredentials: Send + Sync {
    /// New credentials for an instance of `function` with `role`.
    fn issue(
        &self,
        function: &FunctionRef,
        role: &str,
        instance: InstanceId,
        of: SessionUse,
    ) -> SessionKey;
    /// What the instance signs with from here on, for whoever shows its token: the session that it
    /// has, or a new one beside that where it ends soon. `None` for any other token, and for an
    /// instance that has ended. The end that is told to [`SessionUse::StartImage`] is near, whatever
    /// the session's own.
    fn current(&self, instance: InstanceId, endpoint_token: &str) -> Option<SessionKey>;
    /// Ends those of an instance; a call that is signed with them is refused from here on.
    fn revoke(&self, instance: InstanceId);
    /// Ends those of all instances of `tenant`, whatever they are at.
    fn revoke_all(&self, tenant: &TenantId);
}
