//! `freehold describe`: one function, its URL and who may call it.

use super::{Common, Failure, print, print_json, text, text::escape};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Arguments of `freehold describe`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  freehold describe hello\n  freehold describe hello --json | jq .Configuration.State"
)]
pub struct DescribeArgs {
    /// The function
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: DescribeArgs) -> Result<ExitCode, Failure> {
    let client = args.common.client()?;
    let mut function = client.get_function(&args.name).await?;
    let url = client.url_config(&args.name).await?;
    if args.common.json {
        // The link to the code carries a signature of ours: it opens the package to its bearer.
        if let Some(code) = function["Code"].as_object_mut() {
            code.remove("Location");
        }
        function["UrlConfig"] = json!(url);
        print_json(&function)?;
        return Ok(ExitCode::SUCCESS);
    }
    let endpoint = client.endpoint.to_string();
    print(&describe(&function, url.as_ref(), &endpoint))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(function: &Value, url: Option<&Value>, endpoint: &str) -> String {
    let about = &function["Configuration"];
    let mut out = String::new();
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            out.push_str(&format!("{label:<14}{}\n", escape(&value)));
        }
    };
    let word = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| about[name].as_u64().unwrap_or(0);
    line("Function", word("FunctionName"));
    line("ARN", word("FunctionArn"));
    line("Description", word("Description"));
    let state = [word("State"), word("StateReason")];
    line("State", state.join(" ").trim().to_owned());
    let update = [word("LastUpdateStatus"), word("LastUpdateStatusReason")];
    line("Last update", update.join(" ").trim().to_owned());
    line("Runtime", word("Runtime"));
    line("Handler", word("Handler"));
    line("Memory", format!("{} MB", number("MemorySize")));
    line("Timeout", format!("{} s", number("Timeout")));
    if let Some(size) = about["EphemeralStorage"]["Size"].as_u64() {
        line("/tmp", format!("{size} MB"));
    }
    line(
        "Code",
        format!(
            "{}, sha256 {}",
            text::bytes(number("CodeSize")),
            word("CodeSha256")
        ),
    );
    line("Role", word("Role"));
    line("Modified", word("LastModified"));
    // Values of variables are often secrets; their names suffice here, --json has all.
    if let Some(variables) = about["Environment"]["Variables"].as_object() {
        let names: Vec<&str> = variables.keys().map(String::as_str).collect();
        line(
            "Environment",
            format!("{} (values: --json)", names.join(", ")),
        );
    }
    if let Some(tags) = function["Tags"].as_object() {
        let tags: Vec<String> = tags
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        line("Tags", tags.join(", "));
    }
    if let Some(reserved) = function["Concurrency"]["ReservedConcurrentExecutions"].as_u64() {
        line("Reserved", format!("{reserved} at once"));
    }
    line(
        "Log group",
        about["LoggingConfig"]["LogGroup"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    );
    if let Some(url) = url {
        let host_form = url["FunctionUrl"].as_str().unwrap_or_default();
        let auth = url["AuthType"].as_str().unwrap_or_default();
        line("URL", format!("{host_form} ({auth})"));
        if let Some(path_form) = super::deploy::path_form(endpoint, host_form) {
            line("", path_form);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_variables_are_not_shown() {
        let function = json!({"Configuration": {
            "FunctionName": "f", "Environment": {"Variables": {"TOKEN": "sesame"}}}});
        let shown = describe(&function, None, "http://h");
        assert!(
            shown.contains("TOKEN") && !shown.contains("sesame"),
            "{shown}"
        );
    }
}
