//! What the server runs with, for the operator.

use super::{Client, ClientError, own::own};
use freehold_api::{ConfigurationRow, ReloadRow};
use serde_json::json;

impl Client {
    /// What the server runs with.
    pub async fn running_configuration(&self) -> Result<ConfigurationRow, ClientError> {
        self.json(own("GetConfiguration", json!({}))).await
    }

    /// Has it read its file again.
    pub async fn reload(&self) -> Result<ReloadRow, ClientError> {
        self.json(own("ReloadConfiguration", json!({}))).await
    }
}
