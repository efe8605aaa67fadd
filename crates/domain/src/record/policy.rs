//! Resource policies of functions.

use super::{Kind, Record};
use serde::{Deserialize, Serialize};

/// The statements on one function, revision or alias.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PolicyV1 {
    /// Changes with every change; guards concurrent writers.
    pub revision_id: String,
    /// In the order in which they were added.
    pub statements: Vec<StatementV1>,
}
impl Record for PolicyV1 {
    const KIND: Kind = Kind::Policy;
    const VERSION: u16 = 1;
}

/// One permission: who may do what under which conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatementV1 {
    /// Its name within the policy.
    pub sid: String,
    /// Who, as AddPermission was told: account id, ARN, service, or `*`.
    pub principal: String,
    /// What, `lambda:InvokeFunction`.
    pub action: String,
    /// The ARN that a service must act for.
    pub source_arn: Option<String>,
    /// The account that a service must act for.
    pub source_account: Option<String>,
    /// The organisation that the principal must belong to.
    pub principal_org_id: Option<String>,
    /// The token of an Alexa skill.
    pub event_source_token: Option<String>,
    /// The auth type of the URL through which the call must come.
    pub url_auth_type: Option<String>,
    /// Whether the call must come through a function URL.
    pub invoked_via_url: Option<bool>,
}
