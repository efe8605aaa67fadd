//! `freehold config show`: every key, its value, and who said so.
//!
//! It puts the same together as a start would, from the same file, environment and flags, and asks
//! the server of the data folder, where one runs, what it has. So it is also how a file is judged
//! before a start or a reload.

use super::{
    Common, EXIT_USAGE, Failure, colours, print, print_json,
    table::{Column, table},
};
use crate::{
    client::resolve_local,
    config::{Given, Key, Resolved, Setting, When},
    serve::{chain, default_data_dir, judge_certificate},
};
use clap::{Args, Subcommand};
use freehold_api::{ConfigurationRow, SettingRow};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Arguments of `freehold config`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  freehold config show
  freehold config show --data /var/lib/freehold --json | jq '.keys[] | select(.origin != \"default\")'
  freehold config show --config new.toml && freehold reload

With --endpoint it shows what that server runs with, and judges no file.")]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every key with its value and origin; ends with 2 and every fault where there are any
    Show {
        /// Configuration file [default: freehold.toml in the data folder]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Any key, as `freehold serve --set` would have it
        #[arg(long, value_name = "SECTION.KEY=VALUE")]
        set: Vec<String>,
    },
}

pub async fn run(args: ConfigArgs) -> Result<ExitCode, Failure> {
    let ConfigCommand::Show { config, set } = args.command;
    let common = args.common;
    if common.endpoint.is_some() || common.profile.is_some() {
        let held = common.client()?.running_configuration().await?;
        match common.json {
            true => print_json(&held_object(&held))?,
            false => print(&held_table(&held))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let data = common.data.clone().unwrap_or_else(default_data_dir);
    let given = Given::new(config.as_deref(), &data);
    let given = given.with_environment().with_sets(&set);
    let resolved = match given.resolve() {
        Ok(resolved) => resolved,
        Err(error) => {
            eprintln!("freehold: {}", chain(&error));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    if let Err(error) = certificate(&resolved) {
        eprintln!("freehold: {error}");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    for name in &resolved.strangers {
        eprintln!("freehold: {name} in the environment is not known, and has no effect");
    }
    let held = held(&data).await;
    if let Some(held) = &held
        && Path::new(&held.file) != given.file()
    {
        let file = &held.file;
        eprintln!("freehold: the server of this folder reads {file}; give it by --config");
    }
    match common.json {
        true => print_json(&object(&given, &resolved, held.as_ref()))?,
        false => print(&shown(&resolved, held.as_ref()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the certificate that is named can be shown. What only root may read is judged at the start.
///
/// Errors: why it cannot.
fn certificate(resolved: &Resolved) -> Result<(), String> {
    match judge_certificate(&resolved.config) {
        Ok(()) => Ok(()),
        Err(error) if error.is_denied() => {
            eprintln!("freehold: the certificate is not judged: {}", chain(&error));
            Ok(())
        }
        Err(error) => {
            let origin = resolved.origin("tls.certificate");
            Err(format!(
                "{origin}: tls.certificate cannot be taken: {}",
                chain(&error)
            ))
        }
    }
}

/// What the server that serves from `data` runs with; none where none answers.
async fn held(data: &Path) -> Option<ConfigurationRow> {
    let client = match resolve_local(data) {
        Ok(client) => client?,
        Err(error) => {
            eprintln!("freehold: the server is not asked: {}", chain(&error));
            return None;
        }
    };
    match client.running_configuration().await {
        Ok(held) => Some(held),
        Err(error) => {
            eprintln!("freehold: the server is not asked: {}", chain(&error));
            None
        }
    }
}

fn of<'a>(held: Option<&'a ConfigurationRow>, key: &Key) -> Option<&'a SettingRow> {
    let rows = &held?.settings;
    rows.iter().find(|row| row.key == key.dotted())
}

fn object(given: &Given, resolved: &Resolved, held: Option<&ConfigurationRow>) -> Value {
    let row = |setting: &Setting| {
        let key = setting.key;
        let mut row = json!({
            "key": key.dotted(),
            "value": setting.value.as_ref().map(|value| value.json()),
            "origin": setting.origin.to_string(),
            "default": key.preset_json(),
            "default_words": key.preset_words(),
            "reload": key.when == When::Reload,
            "type": key.kind.name(),
            "allowed": key.kind.allowed(),
            "variable": key.variable(),
            "about": key.about(),
        });
        if let Some(bounds) = key.kind.bounds() {
            row["least"] = json!(bounds.least);
            row["most"] = json!(bounds.most);
            row["step"] = json!(bounds.step);
            row["unit"] = json!(key.kind.unit());
        }
        if !key.kind.words().is_empty() {
            row["words"] = json!(key.kind.words());
        }
        if let Some(held) = of(held, key) {
            row["running"] = json!({ "value": held.value, "origin": held.origin });
        }
        row
    };
    json!({
        "file": given.file(),
        "file_exists": resolved.has_file,
        "running_file": held.map(|held| &held.file),
        "keys": resolved.settings.iter().map(row).collect::<Vec<_>>(),
    })
}

const COLUMNS: [Column; 5] = [
    Column("KEY", false),
    Column("VALUE", false),
    Column("ORIGIN", false),
    Column("CHANGES AT", false),
    Column("RUNNING", false),
];

fn shown(resolved: &Resolved, held: Option<&ConfigurationRow>) -> String {
    let row = |setting: &Setting| {
        let value = setting.value.as_ref().map(ToString::to_string);
        let running = match of(held, setting.key) {
            // What is as it would be is not said twice.
            Some(held) if held.value == value => String::new(),
            Some(held) => format!("{} ({})", plain(held.value.as_deref()), held.origin),
            None => String::new(),
        };
        vec![
            setting.key.dotted(),
            plain(value.as_deref().or(setting.key.preset_words())),
            setting.origin.to_string(),
            at(setting.key.when == When::Reload),
            running,
        ]
    };
    let rows: Vec<Vec<String>> = resolved.settings.iter().map(row).collect();
    // Without a server there is nothing to compare with.
    let columns = if held.is_some() { 5 } else { 4 };
    let rows: Vec<_> = rows
        .into_iter()
        .map(|mut row| {
            row.truncate(columns);
            row
        })
        .collect();
    table(&COLUMNS[..columns], &rows, colours())
}

fn held_table(held: &ConfigurationRow) -> String {
    let row = |row: &SettingRow| {
        vec![
            row.key.clone(),
            plain(row.value.as_deref()),
            row.origin.clone(),
            at(row.reloads),
        ]
    };
    let rows: Vec<Vec<String>> = held.settings.iter().map(row).collect();
    table(&COLUMNS[..4], &rows, colours())
}

fn held_object(held: &ConfigurationRow) -> Value {
    let row = |row: &SettingRow| {
        json!({
            "key": row.key,
            "reload": row.reloads,
            "running": { "value": row.value, "origin": row.origin },
        })
    };
    json!({
        "running_file": held.file,
        "keys": held.settings.iter().map(row).collect::<Vec<_>>(),
    })
}

fn plain(value: Option<&str>) -> String {
    match value {
        None => "unset".to_owned(),
        Some("") => "none".to_owned(),
        Some(value) => value.to_owned(),
    }
}

fn at(reloads: bool) -> String {
    if reloads { "reload" } else { "start" }.to_owned()
}
