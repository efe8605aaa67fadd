//! AWS Lambda's API: decoded by `wire`, carried out by `control`, the queue or the engine.
//!
//! One file per resource; [`Ctx`] is what each operation gets, [`explain`] the one table from the
//! control plane's errors to AWS's.

mod access;
mod account;
mod aliases;
mod code;
mod explain;
mod functions;
mod invoking;
mod permissions;
mod rates;
mod render;
mod tags;
mod urls;

pub(crate) use code::{CodeLinks, serve as serve_code};
pub(crate) use explain::plain as explain_plain;
pub(crate) use rates::{CallRate, CallRates};

use crate::{Api, auth::Signer, request::Request};
use bytes::Bytes;
use freehold_control::Place;
use freehold_domain::{Principal, Region, TenantId, ports::Invoke};
use freehold_wire::{
    ApiError, Call, Labels, Service, common,
    lambda::{self, Operation},
};
use http::{Response, request::Parts};
use std::{future::Future, sync::Arc};

/// What every operation is given.
pub(crate) struct Ctx<'a> {
    pub(crate) api: &'a Api,
    pub(crate) who: Principal,
    pub(crate) place: Place,
    pub(crate) host: String,
    /// Whether it was asked encrypted.
    pub(crate) is_secure: bool,
}

/// Whether the request is an Invoke, whose body has its own limit.
pub(crate) fn is_invoke(parts: &Parts) -> bool {
    matches!(Operation::route(&parts.method, &parts.uri), Some(found) if found.operation == Operation::Invoke)
}

/// The operation that a request names, for the text of an error.
pub(crate) fn operation_name(parts: &Parts) -> Option<&'static str> {
    Operation::route(&parts.method, &parts.uri).map(|found| found.operation.name())
}

/// Answers one request.
pub(crate) async fn serve(
    api: &Api,
    invoker: Arc<dyn Invoke>,
    request: Request,
    signer: Signer,
) -> Response<Bytes> {
    let id = request.id.to_string();
    match answer(api, invoker, request, signer).await {
        Ok(response) => response,
        Err(error) => {
            // What is not served is the caller's to know.
            if error.status >= 500 && error.status != 501 {
                tracing::error!(%error, request = id, "a call of the Lambda API failed");
            }
            error.encode(Service::Lambda, &id)
        }
    }
}

async fn answer(
    api: &Api,
    invoker: Arc<dyn Invoke>,
    request: Request,
    signer: Signer,
) -> Result<Response<Bytes>, ApiError> {
    let Some(found) = Operation::route(&request.parts.method, &request.parts.uri) else {
        return Err(common::unknown_operation(format!(
            "No operation of AWS Lambda is {} {}",
            request.parts.method,
            request
                .parts
                .uri
                .path()
                .chars()
                .take(200)
                .collect::<String>()
        )));
    };
    let operation = found.operation;
    let Some(tenant) = signer.principal.tenant().cloned() else {
        return Err(common::access_denied(
            "The principal belongs to no account.",
        ));
    };
    let host = request.header("host").unwrap_or("localhost").to_owned();
    let ctx = Ctx {
        api,
        who: signer.principal,
        place: Place {
            tenant,
            region: signer.region,
        },
        host,
        is_secure: request.is_secure,
    };
    if operation == Operation::Invoke {
        return invoking::invoke(&ctx, invoker, request, found.labels).await;
    }
    // Whoever may nothing is told so of what is not served, too.
    access::check_management(&ctx, operation.name())?;
    if !operation.is_served() {
        return Err(common::not_implemented(Service::Lambda, operation.name()));
    }
    Box::pin(control(&ctx, operation, found.labels, &request)).await
}

/// Decodes, carries out, encodes.
async fn call<C: Call, F>(
    request: &Request,
    labels: Labels,
    run: impl FnOnce(C::Request) -> F,
) -> Result<Response<Bytes>, ApiError>
where
    F: Future<Output = Result<C::Response, ApiError>>,
{
    let decoded = C::decode(&request.parts, labels, request.body.clone())
        .map_err(|fault| fault.into_error(C::SERVICE))?;
    Ok(C::encode(run(decoded).await?, &request.id.to_string()))
}

async fn control(
    ctx: &Ctx<'_>,
    operation: Operation,
    labels: Labels,
    request: &Request,
) -> Result<Response<Bytes>, ApiError> {
    macro_rules! to {
        ($call:ident, $run:path) => {
            call::<lambda::$call, _>(request, labels, |asked| $run(ctx, asked)).await
        };
    }
    match operation {
        Operation::CreateFunction => to!(CreateFunction, functions::create),
        Operation::GetFunction => to!(GetFunction, functions::get),
        Operation::GetFunctionConfiguration => {
            to!(GetFunctionConfiguration, functions::configuration)
        }
        Operation::ListFunctions => to!(ListFunctions, functions::list),
        Operation::UpdateFunctionCode => to!(UpdateFunctionCode, functions::update_code),
        Operation::UpdateFunctionConfiguration => {
            to!(UpdateFunctionConfiguration, functions::update_configuration)
        }
        Operation::DeleteFunction => to!(DeleteFunction, functions::delete),
        Operation::PublishVersion => to!(PublishVersion, functions::publish),
        Operation::ListVersionsByFunction => to!(ListVersionsByFunction, functions::versions),
        Operation::CreateAlias => to!(CreateAlias, aliases::create),
        Operation::GetAlias => to!(GetAlias, aliases::get),
        Operation::UpdateAlias => to!(UpdateAlias, aliases::update),
        Operation::DeleteAlias => to!(DeleteAlias, aliases::delete),
        Operation::ListAliases => to!(ListAliases, aliases::list),
        Operation::PutFunctionConcurrency => {
            to!(PutFunctionConcurrency, functions::put_concurrency)
        }
        Operation::GetFunctionConcurrency => {
            to!(GetFunctionConcurrency, functions::get_concurrency)
        }
        Operation::DeleteFunctionConcurrency => {
            to!(DeleteFunctionConcurrency, functions::delete_concurrency)
        }
        Operation::CreateFunctionUrlConfig => to!(CreateFunctionUrlConfig, urls::create),
        Operation::GetFunctionUrlConfig => to!(GetFunctionUrlConfig, urls::get),
        Operation::UpdateFunctionUrlConfig => to!(UpdateFunctionUrlConfig, urls::update),
        Operation::DeleteFunctionUrlConfig => to!(DeleteFunctionUrlConfig, urls::delete),
        Operation::ListFunctionUrlConfigs => to!(ListFunctionUrlConfigs, urls::list),
        Operation::AddPermission => to!(AddPermission, permissions::add),
        Operation::RemovePermission => to!(RemovePermission, permissions::remove),
        Operation::GetPolicy => to!(GetPolicy, permissions::get),
        Operation::TagResource => to!(TagResource, tags::add),
        Operation::UntagResource => to!(UntagResource, tags::remove),
        Operation::ListTags => to!(ListTags, tags::list),
        Operation::GetAccountSettings => to!(GetAccountSettings, account::settings),
        other => Err(common::not_implemented(Service::Lambda, other.name())),
    }
}

/// Usage by function and day, for our own API.
pub(crate) async fn usage_rows(
    api: &Api,
    who: &Principal,
    tenant: &TenantId,
    region: &Region,
    from: Option<String>,
    until: Option<String>,
) -> Result<Vec<serde_json::Value>, ApiError> {
    let place = Place {
        tenant: tenant.clone(),
        region: region.clone(),
    };
    let fail = |error| explain::plain(error);
    api.control.usage_roll_up().await.map_err(fail)?;
    let rows = api
        .control
        .usage_query(who, &place, None, from.as_deref(), until.as_deref())
        .await
        .map_err(fail)?;
    Ok(rows.into_iter().map(render::usage_row).collect())
}
