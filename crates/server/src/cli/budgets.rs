//! `freehold budgets`: how much accounts and functions may use in an hour, a day or a month.

use super::{
    Common, Failure, colours, print, print_json,
    table::{Column, table},
    text,
};
use crate::{client::BudgetToSet, config::Size};
use clap::{Args, Subcommand, ValueEnum};
use freehold_api::BudgetRow;
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `freehold budgets`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  freehold budgets set --tenant 123456789012 --cost 100 --per month --then stop\n  freehold budgets set --tenant 123456789012 --function orders --invocations 10000 --per hour\n  freehold budgets list\n  freehold budgets rm --tenant 123456789012 cost-month\n\nBudgets are set and removed with the operator's root key; an account lists its own."
)]
pub struct BudgetsArgs {
    #[command(subcommand)]
    command: BudgetsCommand,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum BudgetsCommand {
    /// Set a budget, in place of the one of the same account, function, meter and period
    Set(Box<SetArgs>),
    /// Show budgets with what they have used
    List {
        /// The tenant's id [default: all that you may see]
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Remove a budget; what it had closed is open at once
    Rm {
        /// The tenant's id [default: your own]
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
        /// The budget's name, as `list` shows it
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("meter").required(true))]
struct SetArgs {
    /// The tenant's id [default: your own]
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// One function in the region asked for [default: all of the account's in all regions]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// What it may cost by the price book
    #[arg(
        long,
        value_name = "AMOUNT",
        group = "meter",
        allow_negative_numbers = true
    )]
    cost: Option<String>,
    /// Code of the cost's currency [default: that of the prices]
    #[arg(long, value_name = "CODE", requires = "cost")]
    currency: Option<String>,
    /// GB of memory times seconds of billed time
    #[arg(long, value_name = "N", group = "meter", allow_negative_numbers = true)]
    gb_seconds: Option<String>,
    /// Attempts that reach an instance
    #[arg(long, value_name = "N", group = "meter")]
    invocations: Option<u64>,
    /// What leaves, answers and what functions send to networks, such as 10GiB
    #[arg(long, value_name = "SIZE", group = "meter")]
    egress: Option<Size>,
    /// In which time, in UTC
    #[arg(long, value_enum)]
    per: Per,
    /// What happens once it is used up
    #[arg(long, value_enum, default_value = "throttle")]
    then: Then,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Per {
    /// From each full hour
    Hour,
    /// From midnight
    Day,
    /// From the first of each month
    Month,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Then {
    /// Refuse calls until the period is over
    Throttle,
    /// Refuse calls until the budget is raised or removed
    Stop,
}

pub async fn run(args: BudgetsArgs) -> Result<ExitCode, Failure> {
    let client = args.common.client()?;
    let is_json = args.common.json;
    match args.command {
        BudgetsCommand::Set(set) => {
            let word = |value: Option<clap::builder::PossibleValue>| {
                value.map(|value| value.get_name().to_owned())
            };
            let budget = BudgetToSet {
                tenant_id: set.tenant,
                function_name: set.function,
                cost: set.cost,
                currency: set.currency,
                gb_seconds: set.gb_seconds,
                invocations: set.invocations,
                egress_bytes: set.egress.map(|Size(bytes)| bytes),
                period: word(set.per.to_possible_value()).unwrap_or_default(),
                then: word(set.then.to_possible_value()),
            };
            let set = client.budget_set(&budget).await?;
            match is_json {
                true => print_json(&row(&set))?,
                false => print(&shown(std::slice::from_ref(&set)))?,
            }
        }
        BudgetsCommand::List { tenant } => {
            let all = client.budget_list(tenant.as_deref()).await?;
            if is_json {
                print_json(&all.iter().map(row).collect::<Vec<_>>())?;
            } else if all.is_empty() {
                eprintln!("There are no budgets here.");
            } else {
                print(&shown(&all))?;
            }
        }
        BudgetsCommand::Rm { tenant, name } => {
            client.budget_remove(tenant.as_deref(), &name).await?;
            if is_json {
                print_json(&json!({ "removed": name }))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A budget for machines.
fn row(budget: &BudgetRow) -> serde_json::Value {
    json!({
        "tenant": budget.tenant_id,
        "name": budget.name,
        "region": budget.region,
        "function": budget.function_name,
        "meter": budget.meter,
        "limit": budget.limit,
        "used": budget.used,
        "currency": budget.currency,
        "period": budget.period,
        "from": text::instant(budget.from_ms),
        "until": text::instant(budget.until_ms),
        "then": budget.then,
        "state": budget.state,
        "set": text::instant(budget.set_ms),
    })
}

/// Budgets for people.
fn shown(all: &[BudgetRow]) -> String {
    let columns = [
        Column("TENANT", false),
        Column("BUDGET", false),
        Column("USED", true),
        Column("OF", true),
        Column("", false),
        Column("THEN", false),
        Column("STATE", false),
        Column("PERIOD ENDS", false),
    ];
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|budget| {
            let number = |text: &str| match (budget.meter.as_str(), text.parse()) {
                ("egress", Ok(bytes)) => text::bytes(bytes),
                ("cost", _) => cut(text),
                _ => text.to_owned(),
            };
            vec![
                budget.tenant_id.clone(),
                budget.name.clone(),
                number(&budget.used),
                number(&budget.limit),
                budget.currency.clone().unwrap_or_default(),
                budget.then.clone(),
                budget.state.clone(),
                text::instant(budget.until_ms),
            ]
        })
        .collect();
    table(&columns, &rows, colours())
}

/// An amount to six digits behind its point, as bills show them; JSON has all of them.
fn cut(amount: &str) -> String {
    match amount.split_once('.') {
        Some((whole, part)) => format!("{whole}.{}", part.chars().take(6).collect::<String>()),
        None => amount.to_owned(),
    }
}
