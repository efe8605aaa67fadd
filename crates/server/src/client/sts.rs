//! Who the key belongs to.

use super::{Call, Client, ClientError};
use bytes::Bytes;
use http::{HeaderValue, Method, header};

impl Client {
    /// The 12 digits of the tenant that the key belongs to.
    pub async fn account(&self) -> Result<String, ClientError> {
        let mut call = Call::new("GetCallerIdentity", "sts", Method::POST, "/".into());
        call.body = Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15");
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        call.headers.push((header::CONTENT_TYPE, form));
        let answer = self.call(call).await?;
        let text = String::from_utf8_lossy(&answer.body);
        // The protocol is XML; one element of digits needs no parser.
        let account = text
            .split_once("<Account>")
            .and_then(|(_, rest)| rest.split_once("</Account>"))
            .map(|(account, _)| account)
            .filter(|account| account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()));
        match account {
            Some(account) => Ok(account.to_owned()),
            None => Err(ClientError::Garbled {
                endpoint: self.endpoint.to_string(),
                operation: "GetCallerIdentity",
                reason: "it names no account".into(),
            }),
        }
    }
}
