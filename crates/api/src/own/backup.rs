//! Backups of the node, for its operator: begun, fetched piece by piece, given up.

use super::{Answer, read, write};
use crate::Api;
use bytes::Bytes;
use freehold_domain::{
    Principal, TenantId,
    ports::{BackupAsked, BackupError, BackupPiece},
};
use freehold_identity::policy::Action;
use freehold_wire::{ApiError, common, lambda::error};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// How long a question for a piece waits for one.
const WAIT: Duration = Duration::from_secs(5);
/// The slowest pace: below it a backup holds packages for too long.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Start {
    logs: Option<bool>,
    bytes_per_second: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Of {
    backup_id: String,
}

/// The operations of this file, as policies write them.
pub(super) fn action(operation: &str) -> Option<Action> {
    Some(Action(match operation {
        "StartBackup" => "freehold:StartBackup",
        "GetBackupPiece" => "freehold:GetBackupPiece",
        "StopBackup" => "freehold:StopBackup",
        _ => return None,
    }))
}

/// Carries one out. A backup has everybody's data, so the operator's own root keys alone may.
pub(super) async fn answer(
    api: &Api,
    who: &Principal,
    tenant: &TenantId,
    operation: &str,
    body: &[u8],
) -> Result<Answer, ApiError> {
    if *tenant != api.operator || !matches!(who, Principal::Root { .. }) {
        return Err(common::access_denied(
            "Only the root key of the node's operator may make backups.",
        ));
    }
    let platform = Principal::platform("backup");
    match operation {
        "StartBackup" => {
            let asked: Start = read(body)?;
            let is_slow = |bytes: u64| bytes < BYTES_PER_SECOND_MIN;
            if asked.bytes_per_second.is_some_and(is_slow) {
                return Err(error::invalid_parameter_value(format!(
                    "BytesPerSecond is at least {BYTES_PER_SECOND_MIN}"
                )));
            }
            let asked = BackupAsked {
                logs: asked.logs.unwrap_or(true),
                bytes_per_second: asked.bytes_per_second,
            };
            let id = api.backups.backup_start(&platform, asked).await;
            Ok(write(&json!({ "BackupId": id.map_err(explain)? })).into())
        }
        "GetBackupPiece" => {
            let Of { backup_id } = read(body)?;
            let piece = api.backups.backup_piece(&platform, &backup_id, WAIT);
            let (body, said) = match piece.await.map_err(explain)? {
                BackupPiece::Bytes(bytes) => (bytes, "piece"),
                BackupPiece::Later => (Bytes::new(), "later"),
                BackupPiece::End => (Bytes::new(), "end"),
            };
            Ok(Answer {
                body,
                kind: "application/octet-stream",
                backup: Some(said),
                about: None,
            })
        }
        _ => {
            let Of { backup_id } = read(body)?;
            let stopped = api.backups.backup_stop(&platform, &backup_id);
            stopped.await.map_err(explain)?;
            Ok(write(&json!({})).into())
        }
    }
}

fn explain(fault: BackupError) -> ApiError {
    let text = fault.to_string();
    match fault {
        BackupError::UnderWay => error::resource_conflict(text),
        BackupError::Unknown => error::resource_not_found(text),
        BackupError::Denied => common::access_denied(text),
        BackupError::DiskFull { .. } => common::service_unavailable(text),
        // Whoever asks is the operator, who may know what of the machine did not read.
        BackupError::Failed { .. } => error::service(text),
    }
}
