//! What the server runs with, and its reload, for the node's operator.

use super::{Nothing, read, write};
use crate::{Api, lambda::explain_plain};
use freehold_domain::{BoxFuture, Principal};
use freehold_identity::policy::Action;
use freehold_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// A key of the configuration and what it has. None is a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SettingRow {
    /// `section.key`.
    pub key: String,
    /// As the command line would have it; none where the machine makes it.
    pub value: Option<String>,
    /// `default`, `FILE:LINE`, a variable, or a flag.
    pub origin: String,
    /// Whether a change takes effect at a reload; at the next start else.
    pub reloads: bool,
}

/// A key whose value has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChangeRow {
    /// `section.key`.
    pub key: String,
    /// What the server had.
    pub before: Option<String>,
    /// What is given now.
    pub now: Option<String>,
    /// Where.
    pub origin: String,
}

/// What the server runs with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigurationRow {
    /// The file that it reads, which need not exist.
    pub file: String,
    /// Every key.
    pub settings: Vec<SettingRow>,
}

/// What a reload led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReloadRow {
    /// The file that was read.
    pub file: String,
    /// What holds from now on.
    pub applied: Vec<ChangeRow>,
    /// What waits for the next start.
    pub needs_restart: Vec<ChangeRow>,
}

/// Why a reload took nothing over: every fault, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadRefused(pub String);

/// What the front ends ask of the configuration.
pub trait ConfigurationView: Send + Sync {
    /// What the server runs with.
    fn show(&self) -> ConfigurationRow;

    /// Reads the file again and takes over what can change. One reload at a time.
    ///
    /// Errors: [`ReloadRefused`]; everything stays as it was.
    fn reload(self: Arc<Self>) -> BoxFuture<'static, Result<ReloadRow, ReloadRefused>>;
}

/// The operations of this file, as policies write them.
pub(super) fn action(operation: &str) -> Option<Action> {
    Some(Action(match operation {
        "GetConfiguration" => "freehold:GetConfiguration",
        "ReloadConfiguration" => RELOAD,
        _ => return None,
    }))
}

/// As policies and the audit trail write it.
pub(crate) const RELOAD: &str = "freehold:ReloadConfiguration";
/// The error of a reload that was refused.
pub(crate) const INVALID: &str = "ConfigurationInvalidException";

/// Carries one out, for the operator alone.
pub(super) async fn answer(
    api: &Api,
    who: &Principal,
    operation: &str,
    body: &[u8],
) -> Result<Vec<u8>, ApiError> {
    let allowed = api.control.require_operator(who).await;
    allowed.map_err(explain_plain)?;
    let Nothing {} = read(body)?;
    match operation {
        "GetConfiguration" => Ok(write(&json!(api.configuration.show()))),
        _ => {
            let reloaded = api.configuration.clone().reload().await;
            let reloaded =
                reloaded.map_err(|ReloadRefused(why)| ApiError::new(INVALID, 400, why))?;
            Ok(write(&json!(reloaded)))
        }
    }
}
