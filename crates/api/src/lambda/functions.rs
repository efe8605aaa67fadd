//! Functions, versions and reserved concurrency.

use super::{
    Ctx,
    access::{own, own_or},
    explain::{self, about},
    render,
};
use crate::{
    arn::{Absent, Named, function_arn},
    request::scheme,
};
use bytes::Bytes;
use freehold_control::{
    CodeChange, ConfigurationChange, LoggingChange, NewFunction, Settings, Vpc, WithoutEffect,
    revisions::Publish,
};
use freehold_domain::Qualifier;
use freehold_wire::{
    ApiError,
    lambda::{self, error},
};

type Answer<T> = Result<T, ApiError>;

pub(super) async fn create(
    ctx: &Ctx<'_>,
    asked: lambda::CreateFunctionRequest,
) -> Answer<lambda::FunctionConfiguration> {
    let named = own(ctx, &asked.function_name, None).map_err(|denied| match denied.status {
        // Source: recorded case TestLambdaFunction::test_function_arns.
        403 => denied.without_message(),
        _ => denied,
    })?;
    if named.qualifier.is_some() {
        return Err(error::invalid_parameter_value(
            "A function is created without a qualifier.",
        ));
    }
    if asked.publish_to.is_some() {
        return Err(unsupported("PublishTo"));
    }
    let package_type = asked.package_type.clone();
    let zip = code_of(asked.code, package_type.as_deref())?;
    if asked.runtime.is_none() || asked.handler.is_none() {
        return Err(error::invalid_parameter_value(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ));
    }
    let settings = Settings {
        runtime: asked.runtime,
        handler: asked.handler,
        role: Some(asked.role),
        description: asked.description,
        timeout_s: asked.timeout.map(unsigned),
        memory_mib: asked.memory_size.map(unsigned),
        tmp_mib: asked.ephemeral_storage.map(|tmp| unsigned(tmp.size)),
        environment: asked
            .environment
            .map(|env| env.variables.unwrap_or_default()),
        logging: asked.logging_config.map(logging),
        snap_start: snap_start(asked.snap_start),
        vpc: asked.vpc_config.map(vpc),
        without_effect: WithoutEffect {
            package_type,
            dead_letter: asked
                .dead_letter_config
                .and_then(|config| config.target_arn),
            encryption_key: asked.kms_key_arn,
            tracing: asked.tracing_config.and_then(|config| config.mode),
            layers: asked.layers.unwrap_or_default(),
            file_systems: asked
                .file_system_configs
                .into_iter()
                .flatten()
                .map(|f| f.arn)
                .collect(),
            image: asked.image_config.map(|config| format!("{config:?}")),
            code_signing: asked.code_signing_config_arn,
            durable: asked.durable_config.map(|config| format!("{config:?}")),
            tenancy: asked
                .tenancy_config
                .map(|config| config.tenant_isolation_mode),
            capacity_provider: asked
                .capacity_provider_config
                .map(|config| format!("{config:?}")),
        },
    };
    if asked.runtime_config.is_some() {
        return Err(unsupported("RuntimeConfig"));
    }
    if asked.accelerator_config.is_some() {
        return Err(unsupported("AcceleratorConfig"));
    }
    let new = NewFunction {
        name: named.function.name.clone(),
        zip,
        settings,
        architectures: asked.architectures,
        tags: asked.tags.unwrap_or_default(),
        publish: asked.publish == Some(true),
    };
    let made = ctx
        .api
        .control
        .function_create(&ctx.who, &ctx.place, new)
        .await;
    let mut made = render::configuration(made.map_err(|fault| about(fault, &named))?, false);
    // Also where it is that of a version. Source: recorded case
    // TestLambdaFeatures::test_invocation_with_qualifier.
    made.function_arn = Some(function_arn(&named.function));
    Ok(made)
}

pub(super) async fn get(
    ctx: &Ctx<'_>,
    asked: lambda::GetFunctionRequest,
) -> Answer<lambda::GetFunctionResponse> {
    let named = own(ctx, &asked.function_name, asked.qualifier.as_deref())?;
    let found = ctx
        .api
        .control
        .function_get(&ctx.who, &named.function, named.qualifier.as_ref())
        .await
        .map_err(|fault| about(fault, &named))?;
    let base = format!("{}://{}", scheme(ctx.is_secure), ctx.host);
    let location = ctx.api.code_links.link(
        &base,
        &ctx.place.tenant,
        found.spec.package.digest,
        ctx.api.clock.wall(),
    );
    let (tags, reserved) = (found.tags.clone(), found.reserved_concurrency);
    Ok(lambda::GetFunctionResponse {
        configuration: Some(render::configuration(found, named.qualifier.is_some())),
        code: Some(lambda::FunctionCodeLocation {
            repository_type: Some("S3".into()),
            location: Some(location),
            ..lambda::FunctionCodeLocation::default()
        }),
        tags: (!tags.is_empty()).then_some(tags),
        tags_error: None,
        concurrency: reserved.map(|amount| lambda::Concurrency {
            reserved_concurrent_executions: Some(amount as i32),
        }),
    })
}

pub(super) async fn configuration(
    ctx: &Ctx<'_>,
    asked: lambda::GetFunctionConfigurationRequest,
) -> Answer<lambda::FunctionConfiguration> {
    let named = own(ctx, &asked.function_name, asked.qualifier.as_deref())?;
    let found = ctx
        .api
        .control
        .function_get(&ctx.who, &named.function, named.qualifier.as_ref())
        .await
        .map_err(|fault| about(fault, &named))?;
    Ok(render::configuration(found, named.qualifier.is_some()))
}

pub(super) async fn list(
    ctx: &Ctx<'_>,
    asked: lambda::ListFunctionsRequest,
) -> Answer<lambda::ListFunctionsResponse> {
    let all = asked.function_version.as_deref() == Some("ALL");
    let page = ctx
        .api
        .control
        .function_list(
            &ctx.who,
            &ctx.place,
            all,
            marker(&asked.marker),
            size(asked.max_items),
        )
        .await
        .map_err(explain::plain)?;
    let rows = page.items.into_iter().map(|one| {
        let mut row = render::configuration(one, all);
        without_states(&mut row);
        row
    });
    Ok(lambda::ListFunctionsResponse {
        next_marker: page.next,
        functions: Some(rows.collect()),
    })
}

pub(super) async fn update_code(
    ctx: &Ctx<'_>,
    asked: lambda::UpdateFunctionCodeRequest,
) -> Answer<lambda::FunctionConfiguration> {
    let named = own(ctx, &asked.function_name, None)?;
    if asked.image_uri.is_some() {
        return Err(error::invalid_parameter_value(
            "Please don't provide ImageUri when updating a function with packageType Zip.",
        ));
    }
    if asked.publish_to.is_some() {
        return Err(unsupported("PublishTo"));
    }
    let code = lambda::FunctionCode {
        zip_file: asked.zip_file,
        s3_bucket: asked.s3_bucket,
        s3_key: asked.s3_key,
        s3_object_version: asked.s3_object_version,
        s3_object_storage_mode: asked.s3_object_storage_mode,
        image_uri: None,
        source_kms_key_arn: asked.source_kms_key_arn,
    };
    let change = CodeChange {
        zip: code_of(code, None)?,
        architectures: asked.architectures,
        publish: asked.publish == Some(true),
        dry_run: asked.dry_run == Some(true),
        revision_id: asked.revision_id,
    };
    let made = ctx
        .api
        .control
        .function_update_code(&ctx.who, &named.function, change)
        .await;
    let made = made.map_err(|fault| about(fault, &named))?;
    let published = made.qualifier != Qualifier::Latest;
    Ok(render::configuration(made, published))
}

pub(super) async fn update_configuration(
    ctx: &Ctx<'_>,
    asked: lambda::UpdateFunctionConfigurationRequest,
) -> Answer<lambda::FunctionConfiguration> {
    let named = own(ctx, &asked.function_name, None)?;
    let settings = Settings {
        runtime: asked.runtime,
        handler: asked.handler,
        role: asked.role,
        description: asked.description,
        timeout_s: asked.timeout.map(unsigned),
        memory_mib: asked.memory_size.map(unsigned),
        tmp_mib: asked.ephemeral_storage.map(|tmp| unsigned(tmp.size)),
        environment: asked
            .environment
            .map(|env| env.variables.unwrap_or_default()),
        logging: asked.logging_config.map(logging),
        snap_start: snap_start(asked.snap_start),
        vpc: asked.vpc_config.map(vpc),
        without_effect: WithoutEffect {
            package_type: None,
            dead_letter: asked
                .dead_letter_config
                .and_then(|config| config.target_arn),
            encryption_key: asked.kms_key_arn,
            tracing: asked.tracing_config.and_then(|config| config.mode),
            layers: asked.layers.unwrap_or_default(),
            file_systems: asked
                .file_system_configs
                .into_iter()
                .flatten()
                .map(|f| f.arn)
                .collect(),
            image: asked.image_config.map(|config| format!("{config:?}")),
            code_signing: None,
            durable: asked.durable_config.map(|config| format!("{config:?}")),
            tenancy: None,
            capacity_provider: asked
                .capacity_provider_config
                .map(|config| format!("{config:?}")),
        },
    };
    if asked.runtime_config.is_some() {
        return Err(unsupported("RuntimeConfig"));
    }
    if asked.accelerator_config.is_some() {
        return Err(unsupported("AcceleratorConfig"));
    }
    let change = ConfigurationChange {
        settings,
        revision_id: asked.revision_id,
    };
    let made = ctx
        .api
        .control
        .function_update_configuration(&ctx.who, &named.function, change)
        .await
        .map_err(|fault| about(fault, &named))?;
    Ok(render::configuration(made, false))
}

pub(super) async fn delete(
    ctx: &Ctx<'_>,
    asked: lambda::DeleteFunctionRequest,
) -> Answer<lambda::DeleteFunctionResponse> {
    let named = own_or(
        ctx,
        &asked.function_name,
        asked.qualifier.as_deref(),
        Absent::Bare,
    )?;
    let control = &ctx.api.control;
    let done = match &named.qualifier {
        None => control.function_delete(&ctx.who, &named.function).await,
        Some(Qualifier::Latest) => {
            return Err(error::invalid_parameter_value(
                "$LATEST version cannot be deleted without deleting the function.",
            ));
        }
        Some(Qualifier::Revision(number)) => {
            control
                .revision_delete(&ctx.who, &named.function, *number)
                .await
        }
        Some(Qualifier::Alias(_)) => {
            return Err(error::invalid_parameter_value(
                "Deletion of aliases is not currently supported.",
            ));
        }
    };
    done.map_err(|fault| about(fault, &named))?;
    Ok(lambda::DeleteFunctionResponse {
        status_code: Some(204),
    })
}

pub(super) async fn publish(
    ctx: &Ctx<'_>,
    asked: lambda::PublishVersionRequest,
) -> Answer<lambda::FunctionConfiguration> {
    let named = own(ctx, &asked.function_name, None)?;
    if asked.publish_to.is_some() {
        return Err(unsupported("PublishTo"));
    }
    let how = Publish {
        description: asked.description,
        code_digest: asked.code_sha256,
        revision_id: asked.revision_id,
    };
    let made = ctx
        .api
        .control
        .revision_publish(&ctx.who, &named.function, how)
        .await;
    Ok(render::configuration(
        made.map_err(|fault| about(fault, &named))?,
        true,
    ))
}

pub(super) async fn versions(
    ctx: &Ctx<'_>,
    asked: lambda::ListVersionsByFunctionRequest,
) -> Answer<lambda::ListVersionsByFunctionResponse> {
    let named = own(ctx, &asked.function_name, None)?;
    let page = ctx
        .api
        .control
        .revision_list(
            &ctx.who,
            &named.function,
            marker(&asked.marker),
            size(asked.max_items),
        )
        .await
        .map_err(|fault| about(fault, &named))?;
    let rows = page.items.into_iter().map(|one| {
        let mut row = render::configuration(one, true);
        without_states(&mut row);
        row
    });
    Ok(lambda::ListVersionsByFunctionResponse {
        next_marker: page.next,
        versions: Some(rows.collect()),
    })
}

/// Lists leave out what only the function's own description says. Source: the recordings.
fn without_states(row: &mut lambda::FunctionConfiguration) {
    row.state = None;
    row.state_reason = None;
    row.state_reason_code = None;
    row.last_update_status = None;
    row.last_update_status_reason = None;
    row.last_update_status_reason_code = None;
    row.runtime_version_config = None;
}

pub(super) async fn put_concurrency(
    ctx: &Ctx<'_>,
    asked: lambda::PutFunctionConcurrencyRequest,
) -> Answer<lambda::Concurrency> {
    let named = unqualified(ctx, &asked.function_name)?;
    let amount = unsigned(asked.reserved_concurrent_executions);
    let set = ctx
        .api
        .control
        .concurrency_put(&ctx.who, &named.function, amount)
        .await;
    let set = set.map_err(|fault| about(fault, &named))?;
    Ok(lambda::Concurrency {
        reserved_concurrent_executions: Some(set as i32),
    })
}

pub(super) async fn get_concurrency(
    ctx: &Ctx<'_>,
    asked: lambda::GetFunctionConcurrencyRequest,
) -> Answer<lambda::GetFunctionConcurrencyResponse> {
    let named = unqualified(ctx, &asked.function_name)?;
    let found = ctx
        .api
        .control
        .concurrency_get(&ctx.who, &named.function)
        .await;
    let found = found.map_err(|fault| about(fault, &named))?;
    Ok(lambda::GetFunctionConcurrencyResponse {
        reserved_concurrent_executions: found.map(|amount| amount as i32),
    })
}

pub(super) async fn delete_concurrency(
    ctx: &Ctx<'_>,
    asked: lambda::DeleteFunctionConcurrencyRequest,
) -> Answer<()> {
    let named = unqualified(ctx, &asked.function_name)?;
    let done = ctx
        .api
        .control
        .concurrency_delete(&ctx.who, &named.function)
        .await;
    done.map_err(|fault| about(fault, &named))
}

/// A function as a whole: a qualifier has no place.
pub(super) fn unqualified(ctx: &Ctx<'_>, text: &str) -> Answer<Named> {
    let named = own(ctx, text, None)?;
    match named.qualifier {
        None => Ok(named),
        Some(_) => Err(error::invalid_parameter_value(
            "This operation takes a function without a qualifier.",
        )),
    }
}

/// The archive of a request, where it holds one.
fn code_of(code: lambda::FunctionCode, package_type: Option<&str>) -> Answer<Bytes> {
    if package_type == Some("Image") || code.image_uri.is_some() {
        return Err(unsupported("PackageType Image"));
    }
    if code.s3_bucket.is_some() || code.s3_key.is_some() {
        return Err(unsupported("Code by S3Bucket and S3Key"));
    }
    if code.source_kms_key_arn.is_some() {
        return Err(unsupported("SourceKMSKeyArn"));
    }
    code.zip_file
        .ok_or_else(|| error::invalid_parameter_value("Please provide a source for function code."))
}

fn unsupported(what: &str) -> ApiError {
    error::invalid_parameter_value(format!(
        "{what} is not supported by this release of Freehold"
    ))
}

fn logging(config: lambda::LoggingConfig) -> LoggingChange {
    LoggingChange {
        group: config.log_group,
        format: config.log_format,
        application_level: config.application_log_level,
        system_level: config.system_log_level,
    }
}

/// The model knows `PublishedVersions` and `None`.
fn snap_start(config: Option<lambda::SnapStart>) -> Option<bool> {
    let apply_on = config?.apply_on?;
    Some(apply_on == "PublishedVersions")
}

fn vpc(config: lambda::VpcConfig) -> Vpc {
    Vpc {
        subnets: config.subnet_ids.unwrap_or_default(),
        security_groups: config.security_group_ids.unwrap_or_default(),
    }
}

/// Negative numbers have been refused by the model.
fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

pub(super) fn marker(marker: &Option<String>) -> Option<&str> {
    marker.as_deref().filter(|text| !text.is_empty())
}

pub(super) fn size(max_items: Option<i32>) -> Option<usize> {
    max_items.and_then(|number| usize::try_from(number).ok())
}
