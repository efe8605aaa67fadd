//! `freehold tenants`: the accounts of a node, for its operator.

use super::{
    Common, Failure, colours,
    keys::print_new,
    print, print_json,
    table::{Column, table},
    text,
};
use crate::config::Size;
use clap::{Args, Subcommand};
use freehold_api::{LimitsRow, TenantRow};
use serde_json::json;
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
    /// Give a tenant ceilings of its own; `default` goes back to the node's
    #[command(group = clap::ArgGroup::new("ceilings").required(true).multiple(true))]
    Limits {
        /// The tenant's id
        #[arg(value_name = "ID")]
        id: String,
        /// Invocations in flight, in each region
        #[arg(long, value_name = "N|default", value_parser = number, group = "ceilings")]
        concurrency: Option<Ceiling>,
        /// All packages in a region, such as 2GiB
        #[arg(long, value_name = "SIZE|default", value_parser = size, group = "ceilings")]
        code_storage: Option<Ceiling>,
        /// Functions in a region
        #[arg(long, value_name = "N|default", value_parser = number, group = "ceilings")]
        functions: Option<Ceiling>,
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

/// A ceiling as it was given; `None` is the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ceiling(Option<u64>);

fn number(text: &str) -> Result<Ceiling, String> {
    if text == "default" {
        return Ok(Ceiling(None));
    }
    let number = text.parse().map(|number| Ceiling(Some(number)));
    number.map_err(|_| "write a whole number, or default".to_owned())
}

fn size(text: &str) -> Result<Ceiling, String> {
    if text == "default" {
        return Ok(Ceiling(None));
    }
    text.parse().map(|Size(bytes)| Ceiling(Some(bytes)))
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
        TenantsCommand::Limits {
            id,
            concurrency,
            code_storage,
            functions,
        } => {
            let own = |given: Option<Ceiling>| given.map(|Ceiling(value)| value);
            let (concurrency, functions) = (own(concurrency), own(functions));
            let set = client.tenant_limits(&id, concurrency, own(code_storage), functions);
            changed(&set.await?, is_json)?;
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
    let limits = |limits: &LimitsRow| {
        json!({
            "concurrency": limits.concurrency,
            "code_storage_bytes": limits.code_storage_bytes,
            "functions": limits.functions,
        })
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

/// Tenants for people; a ceiling of a tenant's own is marked.
fn shown(tenants: &[TenantRow]) -> String {
    let columns = [
        Column("TENANT", false),
        Column("NAME", false),
        Column("STATE", false),
        Column("CONCURRENCY", true),
        Column("CODE", true),
        Column("FUNCTIONS", true),
        Column("CREATED", false),
    ];
    let ceiling = |holds: Option<u64>, own: Option<u64>, show: fn(u64) -> String| match holds {
        Some(holds) if own.is_some() => format!("{}*", show(holds)),
        Some(holds) => show(holds),
        None => "-".to_owned(),
    };
    let rows: Vec<Vec<String>> = tenants
        .iter()
        .map(|tenant| {
            let (holds, own) = (&tenant.limits, &tenant.own_limits);
            vec![
                tenant.tenant_id.clone(),
                tenant.name.clone().unwrap_or_default(),
                match (tenant.operator, tenant.enabled) {
                    (true, _) => "operator".to_owned(),
                    (false, true) => "enabled".to_owned(),
                    (false, false) => "disabled".to_owned(),
                },
                ceiling(holds.concurrency, own.concurrency, |n| n.to_string()),
                ceiling(
                    holds.code_storage_bytes,
                    own.code_storage_bytes,
                    text::bytes,
                ),
                ceiling(holds.functions, own.functions, |n| n.to_string()),
                text::instant(tenant.created_ms),
            ]
        })
        .collect();
    table(&columns, &rows, colours())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_is_a_number_a_size_or_the_nodes() {
        assert_eq!(number("50"), Ok(Ceiling(Some(50))));
        assert_eq!(size("2GiB"), Ok(Ceiling(Some(2 << 30))));
        assert_eq!(
            (number("default"), size("default")),
            (Ok(Ceiling(None)), Ok(Ceiling(None)))
        );
        for bad in ["", "-1", "1.5", "many", "18446744073709551616"] {
            assert!(number(bad).is_err(), "{bad}");
        }
        assert!(size("2 elephants").is_err());
    }
}
