//! `freehold tenants`: the accounts of a node, for its operator.

#[cfg(test)]
mod book;

use super::{
    Common, Failure, colours,
    keys::print_new,
    print, print_json,
    table::{Column, table},
    text,
};
use crate::config::{Size, Span};
use clap::{Args, Subcommand};
use freehold_api::{LimitsRow, TenantRow};
use freehold_domain::{
    TenantLimit,
    tenant_limits::{Beside, LIFTED, LimitRow, TENANT_LIMITS, Unit},
};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Arguments of `freehold tenants`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  freehold tenants create --name \"Orders team\"\n  freehold tenants limits 123456789012 --concurrency 50\n\nAll of it is signed with the operator's root key, which is that of the node's first account."
)]
pub struct TenantsArgs {
    #[command(subcommand)]
    command: TenantsCommand,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum TenantsCommand {
    /// Make a tenant and its first key, whose secret is shown this once
    Create {
        /// What to call it
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Its id, 12 digits [default: a random one]
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// List the tenants of the node
    List,
    /// Show a tenant's limits, or give it limits of its own; `default` goes back to the node's
    Limits {
        /// The tenant's id
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        own: Own,
    },
    /// Stop everything of a tenant at once, running calls included; all that it has is kept
    Disable {
        /// The tenant's id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Let a disabled tenant go on
    Enable {
        /// The tenant's id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// The limits that were given, each with its flag of the table; `None` is the node's.
#[derive(Debug, Default)]
struct Own(Vec<(TenantLimit, Option<u64>)>);

/// A limit as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given(Option<u64>);

impl clap::Args for Own {
    fn augment_args(command: clap::Command) -> clap::Command {
        TENANT_LIMITS.iter().fold(command, |command, row| {
            let value = match row.unit {
                _ if may_lift(row) => "N|none|default",
                Unit::Count | Unit::PerSecond | Unit::PerTenSeconds => "N|default",
                Unit::Bytes | Unit::BytesPerSecond | Unit::Mebibytes => "SIZE|default",
                Unit::Seconds => "TIME|default",
            };
            command.arg(
                clap::Arg::new(row.name)
                    .long(row.flag)
                    .value_name(value)
                    .help(row.about.trim())
                    .help_heading("Limits")
                    .value_parser(move |text: &str| given(row, text)),
            )
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Own {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let mut own = Self::default();
        own.update_from_arg_matches(matches)?;
        Ok(own)
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        for row in TENANT_LIMITS {
            if let Some(Given(value)) = matches.get_one::<Given>(row.name) {
                self.0.push((row.limit, *value));
            }
        }
        Ok(())
    }
}

fn given(row: &LimitRow, text: &str) -> Result<Given, String> {
    if text == "default" {
        return Ok(Given(None));
    }
    if text == "none" && may_lift(row) {
        return Ok(Given(Some(LIFTED)));
    }
    // As the table of limits shows it, or without the time.
    let per = match row.unit {
        Unit::PerSecond | Unit::BytesPerSecond => "/s",
        Unit::PerTenSeconds => "/10s",
        _ => "",
    };
    let text = text.strip_suffix(per).unwrap_or(text);
    let value = match row.unit {
        Unit::Count | Unit::PerSecond | Unit::PerTenSeconds => text
            .parse()
            .map_err(|_| "write a whole number, or default".to_owned())?,
        Unit::Bytes | Unit::BytesPerSecond => text.parse::<Size>()?.0,
        Unit::Mebibytes => match text.parse::<Size>()?.0 {
            bytes if bytes.is_multiple_of(1 << 20) => bytes >> 20,
            _ => return Err("write whole MiB, such as 512MiB, or default".to_owned()),
        },
        Unit::Seconds => match text.parse::<Span>()?.as_ms() {
            ms if ms.is_multiple_of(1000) => ms / 1000,
            _ => return Err("write whole seconds, such as 90s, or default".to_owned()),
        },
    };
    Ok(Given(Some(value)))
}

/// Whether a tenant may have none of a limit that the node has.
fn may_lift(row: &LimitRow) -> bool {
    row.beside == Beside::InsteadOrNone
}

/// A value as it would be given.
fn told(row: &LimitRow, value: u64) -> String {
    match row.unit {
        _ if may_lift(row) && value == LIFTED => "none".to_owned(),
        Unit::Count => value.to_string(),
        Unit::PerSecond => format!("{value}/s"),
        Unit::PerTenSeconds => format!("{value}/10s"),
        Unit::Bytes => Size(value).to_string(),
        Unit::BytesPerSecond => format!("{}/s", Size(value)),
        Unit::Mebibytes => Size(value.saturating_mul(1 << 20)).to_string(),
        Unit::Seconds => Span::ms(value.saturating_mul(1000)).to_string(),
    }
}

pub async fn run(args: TenantsArgs) -> Result<ExitCode, Failure> {
    let client = args.common.client()?;
    let is_json = args.common.json;
    match args.command {
        TenantsCommand::Create { name, id } => {
            let made = client.tenant_create(id.as_deref(), name.as_deref()).await?;
            if is_json {
                print_json(
                    &json!({ "tenant": row(&made.tenant), "key": super::keys::new(&made.key) }),
                )?;
            } else {
                print_new(&made.key, made.tenant.name.as_deref())?;
            }
        }
        TenantsCommand::List => {
            let tenants = client.tenant_list().await?;
            if is_json {
                print_json(&tenants.iter().map(row).collect::<Vec<_>>())?;
            } else {
                print(&shown(&tenants))?;
            }
        }
        TenantsCommand::Limits { id, own: Own(own) } => {
            let tenant = match own.is_empty() {
                true => client.tenant_get(&id).await?,
                false => client.tenant_limits(&id, &own).await?,
            };
            if is_json {
                print_json(&row(&tenant))?;
            } else {
                print(&limits_shown(&tenant))?;
            }
        }
        TenantsCommand::Disable { id } => {
            changed(&client.tenant_enable(&id, false).await?, is_json)?;
        }
        TenantsCommand::Enable { id } => {
            changed(&client.tenant_enable(&id, true).await?, is_json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn changed(tenant: &TenantRow, is_json: bool) -> Result<(), Failure> {
    if is_json {
        return print_json(&row(tenant));
    }
    print(&shown(std::slice::from_ref(tenant)))
}

/// A tenant for machines.
fn row(tenant: &TenantRow) -> serde_json::Value {
    let limits = |limits: &LimitsRow| -> Map<String, Value> {
        let rows = TENANT_LIMITS.iter();
        rows.map(|row| (row.name.to_owned(), json!(value_of(limits, row))))
            .collect()
    };
    json!({
        "tenant": tenant.tenant_id,
        "name": tenant.name,
        "operator": tenant.operator,
        "enabled": tenant.enabled,
        "created": text::instant(tenant.created_ms),
        "limits": limits(&tenant.limits),
        "own_limits": limits(&tenant.own_limits),
    })
}

fn value_of(limits: &LimitsRow, row: &LimitRow) -> Option<u64> {
    limits.get(&row.wire()).copied().flatten()
}

/// What holds for a tenant, with a mark where it is its own; `-` is as many as there is room for.
fn holds(tenant: &TenantRow, row: &LimitRow) -> String {
    let is_own = value_of(&tenant.own_limits, row).is_some();
    match value_of(&tenant.limits, row) {
        Some(value) if is_own => format!("{}*", told(row, value)),
        Some(value) => told(row, value),
        // A node's limit that was lifted for it.
        None if is_own => "none*".to_owned(),
        None => "-".to_owned(),
    }
}

/// Limits that have a column of their own among the tenants.
const COLUMNS: [TenantLimit; 3] = [
    TenantLimit::Concurrency,
    TenantLimit::CodeStorage,
    TenantLimit::Functions,
];

/// Tenants for people; a limit of a tenant's own is marked.
fn shown(tenants: &[TenantRow]) -> String {
    let columns = [
        Column("TENANT", false),
        Column("NAME", false),
        Column("STATE", false),
        Column("CONCURRENCY", true),
        Column("CODE", true),
        Column("FUNCTIONS", true),
        Column("CREATED", false),
        Column("FURTHER LIMITS OF ITS OWN", false),
    ];
    let rows: Vec<Vec<String>> = tenants
        .iter()
        .map(|tenant| {
            let further = TENANT_LIMITS.iter().filter_map(|row| {
                let own = value_of(&tenant.own_limits, row)?;
                let is_further = !COLUMNS.contains(&row.limit);
                is_further.then(|| format!("{} {}", row.flag, told(row, own)))
            });
            let further: Vec<String> = further.collect();
            let mut cells = vec![
                tenant.tenant_id.clone(),
                tenant.name.clone().unwrap_or_default(),
                match (tenant.operator, tenant.enabled) {
                    (true, _) => "operator".to_owned(),
                    (false, true) => "enabled".to_owned(),
                    (false, false) => "disabled".to_owned(),
                },
            ];
            cells.extend(COLUMNS.map(|limit| holds(tenant, limit.row())));
            cells.push(text::instant(tenant.created_ms));
            cells.push(further.join(", "));
            cells
        })
        .collect();
    table(&columns, &rows, colours())
}

/// Every limit of one tenant.
fn limits_shown(tenant: &TenantRow) -> String {
    let columns = [
        Column("LIMIT", false),
        Column("HOLDS", true),
        Column("WHAT", false),
    ];
    let rows: Vec<Vec<String>> = TENANT_LIMITS
        .iter()
        .map(|row| {
            let about = row.about.trim().to_owned();
            vec![row.flag.to_owned(), holds(tenant, row), about]
        })
        .collect();
    table(&columns, &rows, colours())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(limit: TenantLimit, text: &str) -> Result<Option<u64>, String> {
        given(limit.row(), text).map(|Given(value)| value)
    }

    #[test]
    fn a_limit_is_given_in_its_unit_or_is_the_nodes() {
        assert_eq!(read(TenantLimit::Functions, "50"), Ok(Some(50)));
        assert_eq!(read(TenantLimit::CodeStorage, "2GiB"), Ok(Some(2 << 30)));
        assert_eq!(read(TenantLimit::Memory, "2GiB"), Ok(Some(2048)));
        assert_eq!(read(TenantLimit::LogAge, "30d"), Ok(Some(30 * 86_400)));
        for row in TENANT_LIMITS {
            assert_eq!(read(row.limit, "default"), Ok(None));
            for value in [row.least, row.most] {
                let text = told(row, value);
                let short = text.trim_end_matches("/s").trim_end_matches("/10s");
                for text in [text.as_str(), short] {
                    let read = read(row.limit, text);
                    assert_eq!(read, Ok(Some(value)), "{} {text}", row.name);
                }
            }
            for bad in [
                "",
                "/s",
                "1/m",
                "1/s/s",
                "-1",
                "1.5",
                "many",
                "18446744073709551616",
            ] {
                assert!(read(row.limit, bad).is_err(), "{} {bad}", row.name);
            }
        }
        assert!(read(TenantLimit::CodeStorage, "2 elephants").is_err());
        assert!(read(TenantLimit::Memory, "1537KiB").is_err());
        assert!(read(TenantLimit::Timeout, "1500ms").is_err());
        assert_eq!(read(TenantLimit::FunctionStarts, "none"), Ok(Some(LIFTED)));
        assert!(read(TenantLimit::Starts, "none").is_err());
    }
}
