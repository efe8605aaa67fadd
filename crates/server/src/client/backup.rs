//! The operator's backups.

use super::{Client, ClientError, own::own};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Started {
    backup_id: String,
}

/// What comes of asking for a piece.
pub enum Piece {
    /// The next bytes.
    Bytes(Bytes),
    /// Nothing yet.
    Later,
    /// Nothing more.
    End,
}

impl Client {
    /// Begins a backup; its id.
    pub async fn backup_start(
        &self,
        logs: bool,
        bytes_per_second: Option<u64>,
    ) -> Result<String, ClientError> {
        let mut asked = Map::from_iter([("Logs".to_owned(), json!(logs))]);
        if let Some(bytes) = bytes_per_second {
            asked.insert("BytesPerSecond".to_owned(), json!(bytes));
        }
        let call = own("StartBackup", Value::Object(asked));
        Ok(self.json::<Started>(call).await?.backup_id)
    }

    /// The next piece of one.
    pub async fn backup_piece(&self, id: &str) -> Result<Piece, ClientError> {
        let call = own("GetBackupPiece", json!({ "BackupId": id }));
        let answer = self.call(call).await?;
        match answer.header("x-freehold-backup") {
            Some("piece") => Ok(Piece::Bytes(answer.body)),
            Some("later") => Ok(Piece::Later),
            Some("end") => Ok(Piece::End),
            _ => Err(ClientError::Garbled {
                endpoint: self.endpoint.to_string(),
                operation: "GetBackupPiece",
                reason: "it does not say what it sends".to_owned(),
            }),
        }
    }

    /// Gives one up.
    pub async fn backup_stop(&self, id: &str) -> Result<(), ClientError> {
        let call = own("StopBackup", json!({ "BackupId": id }));
        self.call(call).await.map(drop)
    }
}
