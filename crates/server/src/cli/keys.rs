//! `freehold keys`: access keys of the node's tenants, for its operator.

use super::{
    Common, Failure, colours, print, print_json,
    table::{Column, table},
    text,
};
use clap::{Args, Subcommand};
use freehold_api::{KeyRow, NewKey};
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `freehold keys`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  freehold keys rotate AKIAEXAMPLEEXAMPLE22 --overlap 1h\n  freehold keys disable AKIAEXAMPLEEXAMPLE22\n\nAll of it is signed with the operator's root key, which is that of the node's first account."
)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a further key for a tenant; its secret is shown this once. A tenant has two at most
    Create {
        /// The tenant's id
        #[arg(value_name = "TENANT")]
        tenant: String,
    },
    /// List the keys of a tenant, or of all
    List {
        /// The tenant's id
        #[arg(value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Make a key that takes another's place; both sign until the old one is disabled or ends
    Rotate {
        /// The old key's id
        #[arg(value_name = "KEY")]
        key: String,
        /// How long the old one still signs, such as 90s, 10m, 2h or 3d [default: until it is disabled]
        #[arg(long, value_name = "SPAN", value_parser = text::parse_span)]
        overlap: Option<u64>,
    },
    /// Have a key sign nothing any more; calls that run go on
    Disable {
        /// The key's id
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Have a disabled or ended key sign again
    Enable {
        /// The key's id
        #[arg(value_name = "KEY")]
        key: String,
    },
}

pub async fn run(args: KeysArgs) -> Result<ExitCode, Failure> {
    let client = args.common.client()?;
    let is_json = args.common.json;
    let made = match args.command {
        KeysCommand::Create { tenant } => client.key_create(&tenant).await?,
        KeysCommand::Rotate { key, overlap } => {
            // Never less than what was asked for.
            let overlap_s = overlap.map(|ms| ms.div_ceil(1000));
            client.key_rotate(&key, overlap_s).await?
        }
        KeysCommand::List { tenant } => {
            let keys = client.key_list(tenant.as_deref()).await?;
            return listed(&keys, is_json);
        }
        KeysCommand::Disable { key } => {
            return listed(&[client.key_enable(&key, false).await?], is_json);
        }
        KeysCommand::Enable { key } => {
            return listed(&[client.key_enable(&key, true).await?], is_json);
        }
    };
    if is_json {
        print_json(&new(&made))?;
    } else {
        print_new(&made, None)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A new key for machines.
pub(super) fn new(key: &NewKey) -> serde_json::Value {
    json!({
        "tenant": key.tenant_id,
        "access_key_id": key.access_key_id,
        "secret_access_key": key.secret_access_key,
    })
}

/// Shows a new key, this once.
pub(super) fn print_new(key: &NewKey, name: Option<&str>) -> Result<(), Failure> {
    let mut shown = format!("tenant             {}\n", key.tenant_id);
    if let Some(name) = name {
        shown.push_str(&format!("name               {}\n", text::escape(name)));
    }
    shown.push_str(&format!("access key id      {}\n", key.access_key_id));
    shown.push_str(&format!("secret access key  {}\n", key.secret_access_key));
    print(&shown)?;
    eprintln!("The secret is kept sealed and not shown again.");
    Ok(())
}

fn listed(keys: &[KeyRow], is_json: bool) -> Result<ExitCode, Failure> {
    if is_json {
        let rows: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({
                    "access_key_id": key.access_key_id,
                    "tenant": key.tenant_id,
                    "state": key.state,
                    "created": text::instant(key.created_ms),
                    "ends": key.ends_ms.map(text::instant),
                })
            })
            .collect();
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        Column("KEY", false),
        Column("TENANT", false),
        Column("STATE", false),
        Column("CREATED", false),
        Column("ENDS", false),
    ];
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            vec![
                key.access_key_id.clone(),
                key.tenant_id.clone(),
                key.state.clone(),
                text::instant(key.created_ms),
                key.ends_ms.map(text::instant).unwrap_or_default(),
            ]
        })
        .collect();
    print(&table(&columns, &rows, colours()))?;
    Ok(ExitCode::SUCCESS)
}
