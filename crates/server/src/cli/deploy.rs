//! `freehold deploy`: from a folder to a function that answers.
//!
//! ```text
//! read the folder → build in a scratch copy → pack → create or update → wait → URL
//! ```
//!
//! A deployment is a statement: what the command line or `freehold.toml` says becomes so, what
//! they leave out stays as it was. Who may call is always stated: the URL asks for a signature
//! unless `--public`.

mod build;
mod package;
mod project;

pub(super) use package::file;

use super::{Common, Failure, print, print_json, progress, text};
use crate::client::{Client, Waits};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use project::Manifest;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// How long a function may take to become ready.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks, at first; doubled up to a second.
const READY_PAUSE: Duration = Duration::from_millis(50);
/// The statements that open a URL, as AWS's console names them.
const PUBLIC_URL: &str = "FunctionURLAllowPublicAccess";
const PUBLIC_INVOKE: &str = "FunctionURLInvokeAllowPublicAccess";

/// Arguments of `freehold deploy`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  freehold deploy ./hello --public
  freehold deploy ./orders --name orders --memory 512 --env TABLE=orders

The folder's freehold.toml may give name, runtime, handler, memory, timeout, role, network, public
and [env]; its .freeholdignore names what stays out of the package.")]
pub struct DeployArgs {
    /// Folder of the function
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Name of the function [default: the folder's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Handler, as Lambda writes it [default: found in the code]
    #[arg(long, value_name = "HANDLER")]
    handler: Option<String>,
    /// Runtime, such as python3.12 [default: found in the folder]
    #[arg(long, value_name = "NAME")]
    runtime: Option<String>,
    /// Memory, MB
    #[arg(long, value_name = "MB")]
    memory: Option<u32>,
    /// Longest run, seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// A variable; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// A file of KEY=VALUE lines
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Whom it may reach: internet, none, or a policy of the server's configuration
    #[arg(long, value_name = "POLICY")]
    network: Option<String>,
    /// ARN of the role that the function runs as
    #[arg(long, value_name = "ARN")]
    role: Option<String>,
    /// Anybody may call the URL, without a signature
    #[arg(long, conflicts_with = "no_url")]
    public: bool,
    /// Make no URL; one that is there stays as it is
    #[arg(long)]
    no_url: bool,
    /// Processor [default: this machine's]
    #[arg(long, value_name = "NAME", value_parser = ["x86_64", "arm64"])]
    architecture: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: DeployArgs) -> Result<ExitCode, Failure> {
    if !args.folder.is_dir() {
        return Err(Failure::usage(
            format!("{} is not a folder", args.folder.display()),
            "name the folder that holds the function",
        ));
    }
    let manifest = project::manifest(&args.folder)?;
    let variables = variables(&args, &manifest)?;
    let name = match args
        .name
        .clone()
        .or(manifest.name.clone())
        .or_else(|| project::name_of(&args.folder))
    {
        Some(name) => name,
        None => {
            return Err(Failure::usage(
                "the folder's name makes no function name",
                "say --name",
            ));
        }
    };
    let runtime = args.runtime.clone().or(manifest.runtime.clone());
    let handler = args.handler.clone().or(manifest.handler.clone());
    let project = project::detect(&args.folder, runtime, handler)?;
    // Who cannot reach the server should hear so before a build of minutes.
    let mut client = args.common.client()?;
    let account = client.account().await?;
    let steps = Steps::new();
    client.waits = steps.waits();

    steps.say(format!(
        "building {name} ({}, {})",
        project.runtime, project.handler
    ));
    let architecture = args.architecture.clone().unwrap_or_else(|| {
        if std::env::consts::ARCH == "aarch64" {
            "arm64"
        } else {
            "x86_64"
        }
        .to_owned()
    });
    let scratch = tempfile::Builder::new()
        .prefix("freehold-deploy-")
        .tempdir()
        .map_err(package::file("make a folder in", &std::env::temp_dir()))?;
    let (contents, ignore) = build::build(&args.folder, &project, &architecture, scratch.path())?;
    let zip = package::pack(&contents, &ignore)?;
    drop(scratch);

    let mut settings = Map::new();
    settings.insert("Runtime".into(), json!(project.runtime));
    settings.insert("Handler".into(), json!(project.handler));
    if let Some(memory) = args.memory.or(manifest.memory) {
        settings.insert("MemorySize".into(), json!(memory));
    }
    if let Some(timeout) = args.timeout.or(manifest.timeout) {
        settings.insert("Timeout".into(), json!(timeout));
    }
    if !variables.is_empty() {
        settings.insert("Environment".into(), json!({ "Variables": variables }));
    }
    if let Some(network) = args.network.as_ref().or(manifest.network.as_ref()) {
        settings.insert("VpcConfig".into(), vpc_of(network));
    }
    let role = args.role.clone().or(manifest.role.clone());
    if let Some(role) = &role {
        settings.insert("Role".into(), json!(role));
    }
    steps.say(format!(
        "uploading {} of {name}",
        text::bytes(zip.len() as u64)
    ));
    let changed = match client.configuration(&name).await {
        Ok(current) => {
            // Only what was asked for: the server refuses what it is not.
            let asked = args.architecture.as_deref();
            update(&client, &name, &current, settings, (&zip, asked), &steps).await?
        }
        Err(error) if error.is_not_found() => {
            settings
                .entry("Role")
                .or_insert_with(|| json!(format!("arn:aws:iam::{account}:role/freehold-function")));
            settings.insert("FunctionName".into(), json!(name));
            settings.insert("Architectures".into(), json!([architecture]));
            settings.insert("Code".into(), json!({ "ZipFile": STANDARD.encode(&zip) }));
            client.create_function(&settings.into()).await?;
            "created"
        }
        Err(error) => return Err(error.into()),
    };
    let ready = wait(&client, &name, &steps).await?;
    let public = args.public || manifest.public.unwrap_or(false);
    let url = if args.no_url {
        None
    } else {
        steps.say(format!("opening the URL of {name}"));
        Some(open_url(&client, &name, public).await?)
    };
    steps.done();
    show(
        &args,
        &client,
        &name,
        changed,
        &ready,
        url.as_deref(),
        public,
    )?;
    Ok(ExitCode::SUCCESS)
}

/// As the API says it: the id of a security group names the policy.
fn vpc_of(network: &str) -> Value {
    json!({ "SubnetIds": [], "SecurityGroupIds": [format!("sg-{network}")] })
}

/// Brings a function that is there to what is wanted; says what that took.
async fn update(
    client: &Client,
    name: &str,
    current: &Value,
    settings: Map<String, Value>,
    (zip, architecture): (&[u8], Option<&str>),
    steps: &Steps,
) -> Result<&'static str, Failure> {
    wait(client, name, steps).await?;
    let differs = settings.iter().any(|(key, value)| match key.as_str() {
        // More is shown of it than is said.
        "VpcConfig" => {
            let said = value.as_object().into_iter().flatten();
            said.into_iter()
                .any(|(part, ids)| current[key][part] != *ids)
        }
        _ => current[key] != *value,
    });
    let hash = hex::decode(freehold_identity::sigv4::sha256_hex(zip)).unwrap_or_default();
    let new_code = current["CodeSha256"].as_str() != Some(STANDARD.encode(hash).as_str());
    let other = architecture.filter(|asked| current["Architectures"] != json!([asked]));
    let new_code = new_code || other.is_some();
    if new_code {
        let mut body = json!({ "ZipFile": STANDARD.encode(zip) });
        if let Some(asked) = other {
            body["Architectures"] = json!([asked]);
        }
        client.update_code(name, &body).await?;
        wait(client, name, steps).await?;
    }
    if differs {
        client.update_configuration(name, &settings.into()).await?;
    }
    Ok(if new_code || differs {
        "updated"
    } else {
        "unchanged"
    })
}

/// Waits until the function is active and its last update through.
async fn wait(client: &Client, name: &str, steps: &Steps) -> Result<Value, Failure> {
    steps.say(format!("waiting for {name}"));
    let end = tokio::time::Instant::now() + READY_LIMIT;
    let mut pause = READY_PAUSE;
    loop {
        let about = client.configuration(name).await?;
        let word = |field: &str| about[field].as_str().unwrap_or_default().to_owned();
        let failed = |state: &str, reason: &str| Failure::NotReady {
            name: name.to_owned(),
            state: word(state),
            reason: text::escape(&word(reason)).into_owned(),
        };
        match (word("State").as_str(), word("LastUpdateStatus").as_str()) {
            ("Failed", _) => return Err(failed("State", "StateReason")),
            ("Active" | "Inactive" | "", "Successful" | "") => return Ok(about),
            // A failed update leaves the function as it was; a new one may well succeed.
            ("Active", "Failed") => {
                return Err(failed("LastUpdateStatus", "LastUpdateStatusReason"));
            }
            _ if tokio::time::Instant::now() >= end => {
                return Err(Failure::NotReady {
                    name: name.to_owned(),
                    state: word("State"),
                    reason: format!("not ready within {} s", READY_LIMIT.as_secs()),
                });
            }
            _ => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn open_url(client: &Client, name: &str, public: bool) -> Result<String, Failure> {
    let auth = if public { "NONE" } else { "AWS_IAM" };
    if public {
        let url = json!({
            "StatementId": PUBLIC_URL, "Action": "lambda:InvokeFunctionUrl", "Principal": "*",
            "FunctionUrlAuthType": "NONE",
        });
        let invoke = json!({
            "StatementId": PUBLIC_INVOKE, "Action": "lambda:InvokeFunction", "Principal": "*",
            "InvokedViaFunctionUrl": true,
        });
        client.add_permission(name, &url).await?;
        client.add_permission(name, &invoke).await?;
    }
    let current = client.url_config(name).await?;
    let url = match current {
        Some(current) if current["AuthType"] == auth => current,
        Some(_) => client.put_url(name, auth, true).await?,
        None => client.put_url(name, auth, false).await?,
    };
    if !public {
        // Only after the URL asks for signatures: the other way round would close it twice.
        let ours = [PUBLIC_URL, PUBLIC_INVOKE];
        for id in client.statements(name).await? {
            if ours.contains(&id.as_str()) {
                client.remove_permission(name, &id).await?;
            }
        }
    }
    Ok(url["FunctionUrl"].as_str().unwrap_or_default().to_owned())
}

/// `http://ENDPOINT/_freehold/url/ID/` for a URL in its host form.
pub fn path_form(endpoint: &str, host_form: &str) -> Option<String> {
    let (_, host) = host_form.split_once("://")?;
    let (id, _) = host.split_once(".lambda-url.")?;
    Some(format!("{endpoint}/_freehold/url/{id}/"))
}

fn show(
    args: &DeployArgs,
    client: &Client,
    name: &str,
    changed: &str,
    ready: &Value,
    url: Option<&str>,
    public: bool,
) -> Result<(), Failure> {
    let path_url = url.and_then(|url| path_form(&client.endpoint.to_string(), url));
    if args.common.json {
        return print_json(&json!({
            "function": name, "arn": ready["FunctionArn"], "result": changed,
            "runtime": ready["Runtime"], "handler": ready["Handler"],
            "code_sha256": ready["CodeSha256"], "code_size": ready["CodeSize"],
            "url": url, "path_url": path_url,
            "auth_type": url.map(|_| if public { "NONE" } else { "AWS_IAM" }),
        }));
    }
    let mut out = format!(
        "{name} {changed} ({}, {})\n",
        text::escape(ready["Runtime"].as_str().unwrap_or("-")),
        text::escape(ready["Handler"].as_str().unwrap_or("-")),
    );
    if let (Some(url), Some(path_url)) = (url, &path_url) {
        out.push_str(&format!("  {}\n  {path_url}\n\n", text::escape(url)));
        out.push_str(&if public {
            format!("  curl {path_url}\n")
        } else {
            format!(
                "  curl --aws-sigv4 aws:amz:{}:lambda --user \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\" {path_url}\n",
                client.region
            )
        });
    } else {
        out.push_str(&format!("\n  freehold invoke {name}\n"));
    }
    print(&out)
}

/// Variables, later ones over earlier: freehold.toml, the file, the command line.
fn variables(args: &DeployArgs, manifest: &Manifest) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = manifest.env.clone();
    if let Some(path) = &args.env_file {
        let content = std::fs::read_to_string(path).map_err(package::file("read", path))?;
        all.extend(env_file(&content, path)?);
    }
    for pair in &args.env {
        match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                all.insert(key.to_owned(), value.to_owned());
            }
            // Not shown: it may be a secret whose name was forgotten.
            _ => {
                return Err(Failure::usage(
                    "an --env is not KEY=VALUE",
                    "write --env KEY=VALUE",
                ));
            }
        }
    }
    Ok(all)
}

fn env_file(content: &str, path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for (number, line) in content.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
        else {
            return Err(Failure::usage(
                format!("line {} of {} is not KEY=VALUE", number + 1, path.display()),
                "one variable a line; # begins a comment",
            ));
        };
        let value = value.trim();
        let quoted = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        all.insert(key.trim().to_owned(), quoted.unwrap_or(value).to_owned());
    }
    Ok(all)
}

/// What is being done, on a terminal.
struct Steps(Option<ProgressBar>);

impl Steps {
    fn new() -> Self {
        Self(progress().then(|| {
            let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        }))
    }
    fn say(&self, what: String) {
        if let Some(bar) = &self.0 {
            bar.set_message(what);
        }
    }
    /// What is waited for is said beside it.
    fn waits(&self) -> Waits {
        let bar = self.0.clone();
        Waits::told_by(move |text| {
            let say = || eprintln!("freehold: {}", text::escape(text));
            match &bar {
                Some(bar) => bar.suspend(say),
                None => say(),
            }
        })
    }
    fn done(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_form_stands_at_the_endpoint() {
        let host = "http://abc.lambda-url.us-east-1.localhost:7070/";
        assert_eq!(
            path_form("http://h:1", host).as_deref(),
            Some("http://h:1/_freehold/url/abc/")
        );
        assert_eq!(path_form("http://h:1", "http://abc/"), None);
    }

    #[test]
    fn variables_of_a_file_are_read_and_a_bad_line_is_not_shown() {
        let read = |text: &str| env_file(text, Path::new("f"));
        let good = read("# c\nA=1\nexport B=\"x y\"\nC=a=b\n\n").unwrap();
        assert_eq!(
            good.into_iter().collect::<Vec<_>>(),
            [
                ("A".to_owned(), "1".to_owned()),
                ("B".into(), "x y".into()),
                ("C".into(), "a=b".into())
            ]
        );
        let bad = read("A=1\nsesame").unwrap_err().to_string();
        assert!(bad.contains("line 2") && !bad.contains("sesame"), "{bad}");
    }
}
