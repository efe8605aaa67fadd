//! AWS Security Token Service: the values that are asked and answered. Written by `cargo xtask codegen`; edits are lost.

/// `GetCallerIdentityRequest` of the service model, asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetCallerIdentityRequest {}

/// `GetCallerIdentityResponse` of the service model, answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetCallerIdentityResponse {
    /// `UserId`.
    pub user_id: Option<String>,
    /// `Account`.
    pub account: Option<String>,
    /// `Arn`.
    pub arn: Option<String>,
}
