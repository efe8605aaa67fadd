//! Versions with SnapStart: published through the AWS API and called by signed Invoke, since a
//! function URL serves the head alone.

use crate::{
    Failure,
    client::{Answer, Connection, Target},
    requests::Caller,
    server::Server,
};
use serde_json::Value;
use std::time::{Duration, Instant};

const FUNCTIONS: &str = "/2015-03-31/functions";
/// How long a version's init and image may take.
const PUBLISH_LIMIT: Duration = Duration::from_secs(150);

/// A version that starts from an image.
pub struct Version {
    caller: Caller,
    target: Target,
}

impl Version {
    /// Turns SnapStart on for `function` and publishes a version of it.
    ///
    /// Errors: also the version's own reason, where no image could be made.
    pub async fn publish(server: &Server, function: &str) -> Result<Self, Failure> {
        let caller = server.caller();
        let at = Target {
            address: server.address(),
            host: caller.host.clone(),
            path: String::new(),
        };
        let configuration = format!("{FUNCTIONS}/{function}/configuration");
        let mut line = Connection::open(&at).await?;
        let on = br#"{"SnapStart":{"ApplyOn":"PublishedVersions"}}"#;
        said(line.ask(caller.request("PUT", &configuration, on)?).await?)?;
        let begun = Instant::now();
        let wait_for = async |line: &mut Connection, path: &str, field: &str, wanted: &str| loop {
            let found = said(line.ask(caller.request("GET", path, b"")?).await?)?;
            if found[field] == wanted {
                return Ok::<_, Failure>(found);
            }
            if found[field] == "Failed" || begun.elapsed() > PUBLISH_LIMIT {
                return Err(format!("{function} is not ready: {found}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        wait_for(&mut line, &configuration, "LastUpdateStatus", "Successful").await?;
        let versions = format!("{FUNCTIONS}/{function}/versions");
        let made = said(line.ask(caller.request("POST", &versions, b"{}")?).await?)?;
        let number = made["Version"].as_str().ok_or("a version has no number")?;
        let one = format!("{configuration}?Qualifier={number}");
        let found = wait_for(&mut line, &one, "State", "Active").await?;
        if found["SnapStart"]["OptimizationStatus"] != "On" {
            let reason = found["StateReason"].as_str().unwrap_or("it says nothing");
            return Err(format!("{function} has no start image: {reason}").into());
        }
        let path = format!("{FUNCTIONS}/{function}/invocations?Qualifier={number}");
        let target = Target { path, ..at };
        Ok(Self { caller, target })
    }

    /// Where to connect.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Invokes it; the request is signed before the clock runs.
    pub async fn invoke(
        &self,
        line: &mut Connection,
        event: &'static [u8],
    ) -> Result<Answer, Failure> {
        let request = self.caller.request("POST", &self.target.path, event)?;
        line.ask(request).await
    }
}

fn said(answer: Answer) -> Result<Value, Failure> {
    if !(200..300).contains(&answer.status) {
        let body = String::from_utf8_lossy(&answer.body);
        return Err(format!("{}: {body}", answer.status).into());
    }
    Ok(serde_json::from_slice(&answer.body)?)
}
