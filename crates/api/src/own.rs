//! Operations of Freehold itself, `POST /_freehold/api/OPERATION`: JSON in, JSON out, SigV4 with
//! service `freehold`.
//!
//! | operation | asks | answers |
//! |---|---|---|
//! | `ListInstances` | `{}` | `{"Instances": [InstanceRow]}` of the caller's tenant |
//! | `GetAudit` | `{"Since", "Until": ms, "TenantId", "Action", "Denied", "Token", "Limit"}`, all optional | `{"Lines": [AuditRow], "Token", "More", "Gaps"}`: the caller's tenant's, the operator's key reads all |
//! | `GetUsage` | `{"From": "2026-11-01", "Until": "2026-11-30"}`, UTC days, both included, both optional | `{"Usage": [...]}` by function and day, equal to the ledger |
//! | `GetBill` | `{"TenantId", "Month": "2026-11", "By": "function" or "tag:KEY", "Marker", "MaxItems"}`, all optional | a page of a bill, [`BillRow`]: the caller's own, with the operator's key anybody's, or everybody's one after the other |
//! | `ListBudgets` | `{"TenantId"}`, optional | `{"Budgets": [BudgetRow]}`: the caller's own, with the operator's key anybody's, or everybody's |
//!
//! With the root key of the node's operator alone:
//!
//! | operation | asks | answers |
//! |---|---|---|
//! | `CreateTenant` | `{"TenantId", "Name"}`, both optional | `{"Tenant": TenantRow, "Key": NewKey}`, the secret this once |
//! | `ListTenants` | `{"Marker", "MaxItems"}`, both optional | `{"Tenants": [TenantRow], "NextMarker"}` |
//! | `GetTenant` | `{"TenantId"}` | `{"Tenant": TenantRow}` |
//! | `SetTenantLimits` | `{"TenantId", "Concurrency", "CodeStorageBytes", …}`, the names of [`LimitRow::wire`](freehold_domain::tenant_limits::LimitRow::wire); what is left out stays, `null` is the node's, 0 of a limit that can be lifted is none | `{"Tenant": TenantRow}` |
//! | `DisableTenant`, `EnableTenant` | `{"TenantId"}` | `{"Tenant": TenantRow}` |
//! | `CreateKey` | `{"TenantId"}` | `{"Key": NewKey}`, the secret this once |
//! | `ListKeys` | `{"TenantId"}`, optional | `{"Keys": [KeyRow]}` |
//! | `RotateKey` | `{"AccessKeyId", "OverlapSeconds"}`; without an overlap the old one signs until it is disabled | `{"Key": NewKey}`, the secret this once |
//! | `DisableKey`, `EnableKey` | `{"AccessKeyId"}` | `{"Key": KeyRow}` |
//! | `GetConfiguration` | `{}` | [`ConfigurationRow`]: what the server runs with, and where each value comes from |
//! | `ReloadConfiguration` | `{}` | [`ReloadRow`]: what was applied and what needs a restart; `ConfigurationInvalidException` with every fault, and nothing is |
//! | `StartBackup` | `{"Logs": true, "BytesPerSecond"}`, both optional | `{"BackupId"}`; one at a time |
//! | `GetBackupPiece` | `{"BackupId"}` | the next bytes; `x-freehold-backup` says `piece`, `later` or `end` |
//! | `StopBackup` | `{"BackupId"}` | `{}` |
//! | `GetPrices` | `{"TenantId"}`, optional: without it the node's | `{"Changes": [PriceChangeRow]}` |
//! | `SetPrices` | `{"TenantId", "From": ms, "Currency", "TenantMonth", "Invocation", "GbSecond", "CpuSecond", "GbOut"}`, decimal numbers as text; what is left out stays | `{"Changes": [PriceChangeRow]}` |
//! | `SetBudget` | `{"TenantId", "FunctionName", "Period": "hour", "Then": "throttle"}` and one of `Cost` (with `Currency`), `GbSeconds`, decimal numbers as text, `Invocations`, `EgressBytes` | `{"Budget": BudgetRow}` |
//! | `RemoveBudget` | `{"TenantId", "Name"}` | `{}` |
//! | `EndPrices` | `{"TenantId", "From": ms}`, both optional | `{"Changes": [PriceChangeRow]}` |

mod audit;
mod backup;
mod budgets;
mod configuration;
mod prices;
mod tenants;

pub use audit::AuditRow;
pub(crate) use audit::Tokens;
pub use budgets::BudgetRow;
pub use configuration::{
    ChangeRow, ConfigurationRow, ConfigurationView, ReloadRefused, ReloadRow, SettingRow,
};
pub(crate) use configuration::{INVALID, RELOAD};
pub use prices::{AmountsRow, BillLineRow, BillRow, PriceChangeRow, PricesRow, StretchRow, SumRow};
pub use tenants::{KeyRow, LimitsRow, NewKey, TenantRow};

use crate::{Api, audit::About, auth::Signer, request::Request};
use bytes::Bytes;
use freehold_domain::{BoxFuture, Principal, Region, TenantId};
use freehold_identity::policy::{Action, Decision, ResourceContext, decide};
use freehold_wire::{ApiError, Service, common};
use http::{HeaderValue, Method, Response, header};
use serde::{Deserialize, Serialize};

/// A live instance, for `freehold ps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceRow {
    /// Its id.
    pub instance_id: String,
    /// The function that it runs.
    pub function_name: String,
    /// The revision, `$LATEST` or a number.
    pub version: String,
    /// `starting`, `busy`, `idle`, `frozen`, `ending`.
    pub state: String,
    /// Age in ms.
    pub age_ms: u64,
    /// Memory in use, bytes, when last measured.
    pub memory_bytes: u64,
    /// Memory limit, bytes.
    pub memory_limit_bytes: u64,
    /// Processor time so far, µs.
    pub cpu_us: u64,
    /// Invocations that it took.
    pub invocations: u64,
}

/// What the front ends show of the engine.
pub trait EngineView: Send + Sync {
    /// The live instances of a tenant in a region.
    fn instances(&self, tenant: &TenantId, region: &Region) -> BoxFuture<'_, Vec<InstanceRow>>;
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UsageQuery {
    from: Option<String>,
    until: Option<String>,
}

/// What an operation answers.
struct Answer {
    body: Bytes,
    kind: &'static str,
    /// What a piece of a backup is.
    backup: Option<&'static str>,
    /// The tenant that it is about, for the audit trail.
    about: Option<About>,
}

impl From<Vec<u8>> for Answer {
    /// JSON.
    fn from(body: Vec<u8>) -> Self {
        Self {
            body: body.into(),
            kind: "application/json",
            backup: None,
            about: None,
        }
    }
}

/// Answers one request.
pub async fn serve(
    api: &Api,
    request: &Request,
    signer: &Signer,
    operation: &str,
) -> Response<Bytes> {
    let id = request.id.to_string();
    match answer(api, request, signer, operation).await {
        Ok(Answer {
            body,
            kind,
            backup,
            about,
        }) => {
            let mut response = Response::new(body);
            if let Some(about) = about {
                response.extensions_mut().insert(about);
            }
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            if let Some(backup) = backup {
                headers.insert("x-freehold-backup", HeaderValue::from_static(backup));
            }
            if let Ok(value) = HeaderValue::from_str(&id) {
                headers.insert("x-amzn-requestid", value);
            }
            response
        }
        Err(error) => error.encode(Service::Lambda, &id),
    }
}

async fn answer(
    api: &Api,
    request: &Request,
    signer: &Signer,
    operation: &str,
) -> Result<Answer, ApiError> {
    let who = &signer.principal;
    let tenant = match who.tenant() {
        Some(tenant) => tenant.clone(),
        None => return Err(common::access_denied("only a tenant's key may ask")),
    };
    let managing = tenants::action(operation);
    let configuring = configuration::action(operation);
    let backing_up = backup::action(operation);
    let pricing = prices::action(operation);
    let budgeting = budgets::action(operation);
    let known = match operation {
        "ListInstances" => Some(Action("freehold:ListInstances")),
        "GetUsage" => Some(Action("freehold:GetUsage")),
        "GetAudit" => Some(Action("freehold:GetAudit")),
        _ => managing
            .or(configuring)
            .or(backing_up)
            .or(pricing)
            .or(budgeting),
    };
    let Some(action) = known else {
        let shown: String = operation.chars().take(64).collect();
        let text = format!("Freehold has no operation {shown:?}");
        return Err(common::unknown_operation(text));
    };
    if request.parts.method != Method::POST {
        return Err(common::unknown_operation(format!(
            "{operation} is asked by POST"
        )));
    }
    if decide(who, &tenant, action, &[], &ResourceContext::default()) == Decision::Deny {
        return Err(crate::arn::denied(who, action.0, "*"));
    }
    if managing.is_some() {
        return tenants::answer(api, who, operation, &request.body).await;
    }
    if configuring.is_some() {
        let answer = configuration::answer(api, who, operation, &request.body).await;
        return answer.map(Answer::from);
    }
    if backing_up.is_some() {
        return backup::answer(api, who, &tenant, operation, &request.body).await;
    }
    if pricing.is_some() {
        let answer = prices::answer(api, who, operation, &request.body).await;
        return answer.map(Answer::from);
    }
    if budgeting.is_some() {
        let place = (&tenant, &signer.region);
        return budgets::answer(api, who, place, operation, &request.body).await;
    }
    let answer = match operation {
        "ListInstances" => {
            let Nothing {} = read(&request.body)?;
            let rows = api.engine.instances(&tenant, &signer.region).await;
            Ok(write(&serde_json::json!({ "Instances": rows })))
        }
        "GetAudit" => audit::lines(api, who, &tenant, read(&request.body)?).await,
        _ => usage(api, who, &tenant, &signer.region, read(&request.body)?).await,
    };
    answer.map(Answer::from)
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| common::serialization(error.to_string()))
}

fn write(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

async fn usage(
    api: &Api,
    who: &Principal,
    tenant: &TenantId,
    region: &Region,
    query: UsageQuery,
) -> Result<Vec<u8>, ApiError> {
    crate::lambda::usage_rows(api, who, tenant, region, query.from, query.until)
        .await
        .map(|rows| write(&serde_json::json!({ "Usage": rows })))
}
