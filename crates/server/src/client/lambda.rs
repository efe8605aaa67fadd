//! The operations of the Lambda API that the commands use, one method each.
//!
//! Answers stay JSON values where a command only shows them: then a field that a later server adds
//! is shown too.

use super::{Call, Client, ClientError};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::time::Duration;

/// Unreserved characters stand for themselves in a path, as the signature demands.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

fn call(operation: &'static str, method: Method, path: String) -> Call {
    Call::new(operation, "lambda", method, path)
}

fn function(name: &str) -> String {
    format!("/2015-03-31/functions/{}", encode(name))
}

fn url(name: &str) -> String {
    format!("/2021-10-31/functions/{}/url", encode(name))
}

/// How an invocation is asked for.
#[derive(Debug, Clone, Default)]
pub struct InvokeOptions {
    /// A version or alias.
    pub qualifier: Option<String>,
    /// Only accepted, not waited for.
    pub asynchronous: bool,
    /// With the tail of the log.
    pub log: bool,
    /// How long the answer may take.
    pub limit: Duration,
}

/// What came of an invocation.
#[derive(Debug)]
pub struct Invoked {
    /// `Unhandled` when the function failed.
    pub function_error: Option<String>,
    /// The version that ran.
    pub version: Option<String>,
    /// Its request id.
    pub request_id: Option<String>,
    /// The tail of the log, base64.
    pub log: Option<String>,
    /// The function's answer.
    pub payload: Bytes,
}

impl Client {
    /// Every function, over all pages.
    pub async fn list_functions(&self) -> Result<Vec<Value>, ClientError> {
        let (mut all, mut marker) = (Vec::new(), None::<String>);
        loop {
            let mut path = "/2015-03-31/functions/?MaxItems=50".to_owned();
            if let Some(marker) = &marker {
                // Keys in order of name, so that the canonical query is the one that is sent.
                path = format!(
                    "/2015-03-31/functions/?Marker={}&MaxItems=50",
                    encode(marker)
                );
            }
            let page: Value = self.json(call("ListFunctions", Method::GET, path)).await?;
            if let Some(rows) = page["Functions"].as_array() {
                all.extend(rows.iter().cloned());
            }
            match page["NextMarker"].as_str().filter(|next| !next.is_empty()) {
                // A server that repeats its marker would keep us here for ever.
                Some(next) if marker.as_deref() != Some(next) => marker = Some(next.to_owned()),
                _ => return Ok(all),
            }
        }
    }

    /// Configuration, code location, tags and concurrency.
    pub async fn get_function(&self, name: &str) -> Result<Value, ClientError> {
        self.json(call("GetFunction", Method::GET, function(name)))
            .await
    }

    /// The configuration alone.
    pub async fn configuration(&self, name: &str) -> Result<Value, ClientError> {
        let path = format!("{}/configuration", function(name));
        self.json(call("GetFunctionConfiguration", Method::GET, path))
            .await
    }

    /// Makes a function.
    pub async fn create_function(&self, body: &Value) -> Result<Value, ClientError> {
        let path = "/2015-03-31/functions".to_owned();
        self.json(call("CreateFunction", Method::POST, path).json(body))
            .await
    }

    /// Replaces a function's code.
    pub async fn update_code(&self, name: &str, body: &Value) -> Result<Value, ClientError> {
        let path = format!("{}/code", function(name));
        self.json(call("UpdateFunctionCode", Method::PUT, path).json(body))
            .await
    }

    /// Changes a function's configuration.
    pub async fn update_configuration(
        &self,
        name: &str,
        body: &Value,
    ) -> Result<Value, ClientError> {
        let path = format!("{}/configuration", function(name));
        let call = call("UpdateFunctionConfiguration", Method::PUT, path);
        self.json(call.json(body)).await
    }

    /// Removes a function with its versions.
    pub async fn delete_function(&self, name: &str) -> Result<(), ClientError> {
        self.call(call("DeleteFunction", Method::DELETE, function(name)))
            .await
            .map(drop)
    }

    /// The settings of a function's URL; `None` when it has none.
    pub async fn url_config(&self, name: &str) -> Result<Option<Value>, ClientError> {
        let asked = call("GetFunctionUrlConfig", Method::GET, url(name));
        match self.json(asked).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a function's URL, or changes who may call it.
    pub async fn put_url(
        &self,
        name: &str,
        auth: &str,
        exists: bool,
    ) -> Result<Value, ClientError> {
        let asked = if exists {
            call("UpdateFunctionUrlConfig", Method::PUT, url(name))
        } else {
            call("CreateFunctionUrlConfig", Method::POST, url(name))
        };
        self.json(asked.json(&json!({ "AuthType": auth }))).await
    }

    /// Adds a statement to a function's policy; one of that id that is there stays.
    pub async fn add_permission(&self, name: &str, statement: &Value) -> Result<(), ClientError> {
        let path = format!("{}/policy", function(name));
        let call = call("AddPermission", Method::POST, path).json(statement);
        match self.call(call).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a statement; one that is not there is fine.
    pub async fn remove_permission(&self, name: &str, id: &str) -> Result<(), ClientError> {
        let path = format!("{}/policy/{}", function(name), encode(id));
        match self
            .call(call("RemovePermission", Method::DELETE, path))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The ids of the statements of a function's policy; none where it has no policy.
    pub async fn statements(&self, name: &str) -> Result<Vec<String>, ClientError> {
        let path = format!("{}/policy", function(name));
        let answer: Value = match self.json(call("GetPolicy", Method::GET, path)).await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let policy = answer["Policy"].as_str().unwrap_or_default();
        let policy: Value = serde_json::from_str(policy).unwrap_or_default();
        let statements = policy["Statement"].as_array().into_iter().flatten();
        let ids = statements.filter_map(|one| one["Sid"].as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    /// Runs a function.
    pub async fn invoke(
        &self,
        name: &str,
        payload: Bytes,
        options: &InvokeOptions,
    ) -> Result<Invoked, ClientError> {
        let mut path = format!("{}/invocations", function(name));
        if let Some(qualifier) = &options.qualifier {
            path.push_str("?Qualifier=");
            path.push_str(&encode(qualifier));
        }
        let mut asked = call("Invoke", Method::POST, path);
        let kind = if options.asynchronous {
            "Event"
        } else {
            "RequestResponse"
        };
        let mut put = |name: &'static str, value: &'static str| {
            let pair = (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
            asked.headers.push(pair);
        };
        put("x-amz-invocation-type", kind);
        if options.log {
            put("x-amz-log-type", "Tail");
        }
        put("content-type", "application/json");
        asked.body = payload;
        asked.limit = options.limit;
        let answer = self.call(asked).await?;
        let text = |name: &str| answer.header(name).map(str::to_owned);
        Ok(Invoked {
            function_error: text("x-amz-function-error"),
            version: text("x-amz-executed-version"),
            request_id: text("x-amzn-requestid"),
            log: text("x-amz-log-result"),
            payload: answer.body,
        })
    }
}
