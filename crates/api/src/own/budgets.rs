//! Budgets: set by the node's operator, seen by whom they bind.

use super::{Answer, read, write};
use crate::{Api, audit::About, lambda::explain_plain};
use freehold_control::{
    Place,
    budgets::{BudgetView, NewBudget},
};
use freehold_domain::{
    Principal, Region, TenantId,
    record::{BudgetLimitV1, BudgetThenV1},
};
use freehold_identity::policy::Action;
use freehold_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A budget, for `freehold budgets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BudgetRow {
    /// Whose.
    pub tenant_id: String,
    /// What tells it from the tenant's others: `invocations-day`, `us-east-1/orders/cost-month`.
    pub name: String,
    /// The function's region, for that of a function.
    pub region: Option<String>,
    /// The function.
    pub function_name: Option<String>,
    /// `cost`, `gb-seconds`, `invocations` or `egress`, which is in bytes.
    pub meter: String,
    /// How much, a decimal number in full.
    pub limit: String,
    /// What was used in the period so far, in full.
    pub used: String,
    /// What a cost is in.
    pub currency: Option<String>,
    /// `hour`, `day` or `month`.
    pub period: String,
    /// When the period began, ms since 1970.
    pub from_ms: i64,
    /// When it is over, ms since 1970.
    pub until_ms: i64,
    /// `throttle` or `stop`.
    pub then: String,
    /// `open`, `throttled` or `stopped`.
    pub state: String,
    /// When it was set, ms since 1970.
    pub set_ms: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Set {
    tenant_id: Option<String>,
    function_name: Option<String>,
    cost: Option<String>,
    currency: Option<String>,
    gb_seconds: Option<String>,
    invocations: Option<u64>,
    egress_bytes: Option<u64>,
    period: String,
    then: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List {
    tenant_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Remove {
    tenant_id: Option<String>,
    name: String,
}

/// The operations of this file, as policies write them.
pub(super) fn action(operation: &str) -> Option<Action> {
    Some(Action(match operation {
        "SetBudget" => "freehold:SetBudget",
        "RemoveBudget" => "freehold:RemoveBudget",
        "ListBudgets" => "freehold:ListBudgets",
        _ => return None,
    }))
}

/// Carries one out for the caller's `own` tenant, unless another is named.
pub(super) async fn answer(
    api: &Api,
    who: &Principal,
    (own, region): (&TenantId, &Region),
    operation: &str,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let control = &*api.control;
    let (value, about) = match operation {
        "SetBudget" => {
            let asked: Set = read(body)?;
            let place = Place {
                tenant: tenant_of(asked.tenant_id.as_deref(), own)?,
                region: region.clone(),
            };
            let new = NewBudget {
                function: asked.function_name,
                cost: asked.cost,
                currency: asked.currency,
                gb_seconds: asked.gb_seconds,
                invocations: asked.invocations,
                egress_bytes: asked.egress_bytes,
                period: asked.period,
                then: asked.then,
            };
            let set = control.budget_set(who, &place, &new).await;
            let row = row(&set.map_err(explain_plain)?);
            let about = about(place.tenant, &row.name);
            (json!({ "Budget": row }), Some(about))
        }
        "RemoveBudget" => {
            let asked: Remove = read(body)?;
            let tenant = tenant_of(asked.tenant_id.as_deref(), own)?;
            let removed = control.budget_remove(who, &tenant, &asked.name).await;
            removed.map_err(explain_plain)?;
            (json!({}), Some(about(tenant, &asked.name)))
        }
        _ => {
            let List { tenant_id } = read(body)?;
            let all = control.budget_list(who, tenant_id.as_deref()).await;
            let all = all.map_err(explain_plain)?;
            let rows: Vec<BudgetRow> = all.iter().map(row).collect();
            (json!({ "Budgets": rows }), None)
        }
    };
    Ok(Answer {
        about,
        ..Answer::from(write(&value))
    })
}

fn tenant_of(given: Option<&str>, own: &TenantId) -> Result<TenantId, ApiError> {
    match given {
        None => Ok(own.clone()),
        Some(id) => id.parse().map_err(|_| {
            let text = "a tenant's id is 12 digits, not all of them 0";
            freehold_wire::lambda::error::invalid_parameter_value(text)
        }),
    }
}

/// A change of what the call named, for the audit trail.
fn about(tenant: TenantId, name: &str) -> About {
    About {
        tenant,
        resource: Some(name.to_owned()),
    }
}

fn row(view: &BudgetView) -> BudgetRow {
    let budget = &view.budget;
    let (region, function_name) = match &budget.function {
        Some(function) => (
            Some(function.region.to_string()),
            Some(function.name.to_string()),
        ),
        None => (None, None),
    };
    let (then, closed) = match budget.then {
        BudgetThenV1::Throttle => ("throttle", "throttled"),
        BudgetThenV1::Stop => ("stop", "stopped"),
    };
    BudgetRow {
        tenant_id: view.tenant.to_string(),
        name: budget.name(),
        region,
        function_name,
        meter: budget.limit.meter().to_owned(),
        limit: budget.limit.quantity(budget.limit.count()),
        used: budget.limit.quantity(view.used),
        currency: match budget.limit {
            BudgetLimitV1::Cost { currency, .. } => Some(currency.to_string()),
            _ => None,
        },
        period: budget.period.word().to_owned(),
        from_ms: view.period.millis(),
        until_ms: budget.period.end(view.period).millis(),
        then: then.to_owned(),
        state: match view.is_closed {
            true => closed,
            false => "open",
        }
        .to_owned(),
        set_ms: budget.set.millis(),
    }
}
