//! AWS Security Token Service: operations and routes. Written by `cargo xtask codegen`; edits are lost.

/// Every operation of the service, served or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `AssumeRole`.
    AssumeRole,
    /// `AssumeRoleWithSAML`.
    AssumeRoleWithSAML,
    /// `AssumeRoleWithWebIdentity`.
    AssumeRoleWithWebIdentity,
    /// `AssumeRoot`.
    AssumeRoot,
    /// `DecodeAuthorizationMessage`.
    DecodeAuthorizationMessage,
    /// `GetAccessKeyInfo`.
    GetAccessKeyInfo,
    /// `GetCallerIdentity`.
    GetCallerIdentity,
    /// `GetDelegatedAccessToken`.
    GetDelegatedAccessToken,
    /// `GetFederationToken`.
    GetFederationToken,
    /// `GetSessionToken`.
    GetSessionToken,
    /// `GetWebIdentityToken`.
    GetWebIdentityToken,
}

impl Operation {
    /// All operations, by name.
    pub const ALL: &[Operation] = &[
        Operation::AssumeRole,
        Operation::AssumeRoleWithSAML,
        Operation::AssumeRoleWithWebIdentity,
        Operation::AssumeRoot,
        Operation::DecodeAuthorizationMessage,
        Operation::GetAccessKeyInfo,
        Operation::GetCallerIdentity,
        Operation::GetDelegatedAccessToken,
        Operation::GetFederationToken,
        Operation::GetSessionToken,
        Operation::GetWebIdentityToken,
    ];

    /// The operation of this name.
    pub fn from_name(name: &str) -> Option<Operation> {
        Some(match name {
            "AssumeRole" => Operation::AssumeRole,
            "AssumeRoleWithSAML" => Operation::AssumeRoleWithSAML,
            "AssumeRoleWithWebIdentity" => Operation::AssumeRoleWithWebIdentity,
            "AssumeRoot" => Operation::AssumeRoot,
            "DecodeAuthorizationMessage" => Operation::DecodeAuthorizationMessage,
            "GetAccessKeyInfo" => Operation::GetAccessKeyInfo,
            "GetCallerIdentity" => Operation::GetCallerIdentity,
            "GetDelegatedAccessToken" => Operation::GetDelegatedAccessToken,
            "GetFederationToken" => Operation::GetFederationToken,
            "GetSessionToken" => Operation::GetSessionToken,
            "GetWebIdentityToken" => Operation::GetWebIdentityToken,
            _ => return None,
        })
    }

    /// The operation's name in the service model.
    pub fn name(self) -> &'static str {
        match self {
            Operation::AssumeRole => "AssumeRole",
            Operation::AssumeRoleWithSAML => "AssumeRoleWithSAML",
            Operation::AssumeRoleWithWebIdentity => "AssumeRoleWithWebIdentity",
            Operation::AssumeRoot => "AssumeRoot",
            Operation::DecodeAuthorizationMessage => "DecodeAuthorizationMessage",
            Operation::GetAccessKeyInfo => "GetAccessKeyInfo",
            Operation::GetCallerIdentity => "GetCallerIdentity",
            Operation::GetDelegatedAccessToken => "GetDelegatedAccessToken",
            Operation::GetFederationToken => "GetFederationToken",
            Operation::GetSessionToken => "GetSessionToken",
            Operation::GetWebIdentityToken => "GetWebIdentityToken",
        }
    }

    /// Whether this crate has the operation in full; the others are known by name only.
    pub fn is_served(self) -> bool {
        matches!(self, Operation::GetCallerIdentity)
    }
}
