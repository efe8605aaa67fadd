//! Settings of function URLs.

use super::{
    Ctx,
    access::own,
    explain::about,
    functions::{marker, size},
    render,
};
use crate::arn::{Named, function_arn, qualified_arn};
use freehold_control::{
    ControlError, Resource,
    urls::{DescribedUrl, UrlSettings},
};
use freehold_domain::{Qualifier, record::CorsV1};
use freehold_wire::{
    ApiError,
    lambda::{self, error},
};

type Answer<T> = Result<T, ApiError>;

pub(super) async fn create(
    ctx: &Ctx<'_>,
    asked: lambda::CreateFunctionUrlConfigRequest,
) -> Answer<lambda::CreateFunctionUrlConfigResponse> {
    let named = own(ctx, &asked.function_name, asked.qualifier.as_deref())?;
    let asked_mode = asked.invoke_mode.clone();
    let settings = settings(Some(asked.auth_type), asked.cors, asked.invoke_mode)?;
    let made = ctx
        .api
        .control
        .url_create(&ctx.who, &named.function, named.qualifier.as_ref(), settings)
        .await
        .map_err(|fault| match fault {
            ControlError::NotFound { .. } => error::resource_not_found("Function does not exist"),
            ControlError::AlreadyExists { .. } => error::resource_conflict(format!(
                "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists for this Lambda function",
                arn(&named)
            )),
            other => about(other, &named),
        })?;
    let shown = show(ctx, made);
    Ok(lambda::CreateFunctionUrlConfigResponse {
        function_url: shown.function_url,
        function_arn: shown.function_arn,
        auth_type: shown.auth_type,
        cors: shown.cors,
        creation_time: shown.creation_time,
        // Only where it was given. Source: recorded cases TestLambdaURL::test_lambda_url_echo_invoke.
        invoke_mode: asked_mode.and(shown.invoke_mode),
    })
}

pub(super) async fn get(
    ctx: &Ctx<'_>,
    asked: lambda::GetFunctionUrlConfigRequest,
) -> Answer<lambda::GetFunctionUrlConfigResponse> {
    let named = own(ctx, &asked.function_name, asked.qualifier.as_deref())?;
    let found = ctx
        .api
        .control
        .url_get(&ctx.who, &named.function, named.qualifier.as_ref())
        .await;
    let shown = show(ctx, found.map_err(|fault| absent(fault, &named))?);
    Ok(lambda::GetFunctionUrlConfigResponse {
        function_url: shown.function_url,
        function_arn: shown.function_arn,
        auth_type: shown.auth_type,
        cors: shown.cors,
        creation_time: shown.creation_time,
        last_modified_time: shown.last_modified_time,
        invoke_mode: shown.invoke_mode,
    })
}

pub(super) async fn update(
    ctx: &Ctx<'_>,
    asked: lambda::UpdateFunctionUrlConfigRequest,
) -> Answer<lambda::UpdateFunctionUrlConfigResponse> {
    let named = own(ctx, &asked.function_name, asked.qualifier.as_deref())?;
    let asked_mode = asked.invoke_mode.clone();
    let settings = settings(asked.auth_type, asked.cors, asked.invoke_mode)?;
    let made = ctx
        .api
        .control
        .url_update(
            &ctx.who,
            &named.function,
            named.qualifier.as_ref(),
            settings,
        )
        .await;
    // Source: recorded case TestLambdaUrl::test_url_config_exceptions.
    let made = made.map_err(|fault| match fault {
        ControlError::NotFound {
            what: Resource::Function | Resource::Alias,
            ..
        } => error::resource_not_found("Function does not exist"),
        other => absent(other, &named),
    });
    let shown = show(ctx, made?);
    Ok(lambda::UpdateFunctionUrlConfigResponse {
        function_url: shown.function_url,
        function_arn: shown.function_arn,
        auth_type: shown.auth_type,
        cors: shown.cors,
        creation_time: shown.creation_time,
        last_modified_time: shown.last_modified_time,
        invoke_mode: asked_mode.and(shown.invoke_mode),
    })
}

pub(super) async fn delete(
    ctx: &Ctx<'_>,
    asked: lambda::DeleteFunctionUrlConfigRequest,
) -> Answer<()> {
    let named = own(ctx, &asked.function_name, asked.qualifier.as_deref())?;
    let done = ctx
        .api
        .control
        .url_delete(&ctx.who, &named.function, named.qualifier.as_ref())
        .await;
    done.map_err(|fault| absent(fault, &named))
}

pub(super) async fn list(
    ctx: &Ctx<'_>,
    asked: lambda::ListFunctionUrlConfigsRequest,
) -> Answer<lambda::ListFunctionUrlConfigsResponse> {
    let named = own(ctx, &asked.function_name, None)?;
    let page = ctx
        .api
        .control
        .url_list(
            &ctx.who,
            &named.function,
            marker(&asked.marker),
            size(asked.max_items),
        )
        .await
        .map_err(|fault| absent(fault, &named))?;
    Ok(lambda::ListFunctionUrlConfigsResponse {
        function_url_configs: page.items.into_iter().map(|one| show(ctx, one)).collect(),
        next_marker: page.next,
    })
}

fn absent(fault: ControlError, named: &Named) -> ApiError {
    match fault {
        ControlError::NotFound {
            what: Resource::Url | Resource::Function,
            ..
        } => error::resource_not_found("The resource you requested does not exist."),
        other => about(other, named),
    }
}

fn arn(named: &Named) -> String {
    match &named.qualifier {
        None | Some(Qualifier::Latest) => function_arn(&named.function),
        Some(qualifier) => qualified_arn(&named.function, qualifier),
    }
}

fn show(ctx: &Ctx<'_>, described: DescribedUrl) -> lambda::FunctionUrlConfig {
    let named = Named {
        function: described.function,
        qualifier: Some(described.qualifier),
    };
    let url = described.url;
    lambda::FunctionUrlConfig {
        function_url: render::function_url(ctx, &url.id),
        function_arn: arn(&named),
        creation_time: url_time(url.created),
        last_modified_time: url_time(url.modified),
        cors: url.cors.as_ref().map(render::cors),
        auth_type: if url.signed { "AWS_IAM" } else { "NONE" }.to_owned(),
        invoke_mode: Some(url.invoke_mode),
    }
}

/// URLs write their times with more digits and a zone letter: `2026-11-21T02:00:00.123456Z`.
fn url_time(at: freehold_domain::Wall) -> String {
    let at = jiff::Timestamp::from_microsecond(at.0).unwrap_or_default();
    format!(
        "{}.{:09}Z",
        at.strftime("%Y-%m-%dT%H:%M:%S"),
        at.subsec_nanosecond()
    )
}

fn settings(
    auth: Option<String>,
    cors: Option<lambda::Cors>,
    invoke_mode: Option<String>,
) -> Answer<UrlSettings> {
    if invoke_mode.as_deref() == Some("RESPONSE_STREAM") {
        return Err(error::invalid_parameter_value(
            "InvokeMode RESPONSE_STREAM is not supported by this release of Freehold: leave the field out or give BUFFERED",
        ));
    }
    Ok(UrlSettings {
        auth,
        cors: cors.map(|cors| CorsV1 {
            allow_credentials: cors.allow_credentials,
            allow_headers: cors.allow_headers,
            allow_methods: cors.allow_methods,
            allow_origins: cors.allow_origins,
            expose_headers: cors.expose_headers,
            max_age_s: cors.max_age.and_then(|s| u32::try_from(s).ok()),
        }),
        invoke_mode,
    })
}
