//! Aliases.

use super::{
    Ctx,
    explain::about,
    functions::{marker, size, unqualified},
};
use crate::arn::{Named, function_arn, qualified_arn};
use freehold_control::{ControlError, Resource, aliases::AliasSettings};
use freehold_domain::{
    AliasName, FunctionRef, Qualifier,
    record::{AliasV1, SplitV1, TargetV1},
};
use freehold_wire::{
    ApiError,
    lambda::{self, error},
};
use std::collections::BTreeMap;

type Answer<T> = Result<T, ApiError>;

pub(super) async fn create(
    ctx: &Ctx<'_>,
    asked: lambda::CreateAliasRequest,
) -> Answer<lambda::AliasConfiguration> {
    let named = unqualified(ctx, &asked.function_name)?;
    let name = alias_name(&asked.name, &named)?;
    let settings = AliasSettings {
        target: Some(target(&named, &asked.function_version)?),
        splits: splits(&named, asked.routing_config)?,
        description: asked.description,
    };
    let made = ctx
        .api
        .control
        .alias_create(&ctx.who, &named.function, &name, settings)
        .await
        .map_err(|fault| match fault {
            ControlError::AlreadyExists { .. } => error::resource_conflict(format!(
                "Alias already exists: {}",
                arn(&named.function, &name)
            )),
            other => no_version(other, &named),
        })?;
    Ok(show(&named.function, made))
}

pub(super) async fn get(
    ctx: &Ctx<'_>,
    asked: lambda::GetAliasRequest,
) -> Answer<lambda::AliasConfiguration> {
    let named = unqualified(ctx, &asked.function_name)?;
    let name = alias_name(&asked.name, &named)?;
    let found = ctx
        .api
        .control
        .alias_get(&ctx.who, &named.function, &name)
        .await;
    let found = found.map_err(|fault| match fault {
        // Without the function there is no alias of it either: one answer for both.
        ControlError::NotFound { .. } => error::resource_not_found(format!(
            "Cannot find alias arn: {}",
            arn(&named.function, &name)
        )),
        other => about(other, &named),
    })?;
    Ok(show(&named.function, found))
}

pub(super) async fn update(
    ctx: &Ctx<'_>,
    asked: lambda::UpdateAliasRequest,
) -> Answer<lambda::AliasConfiguration> {
    let named = unqualified(ctx, &asked.function_name)?;
    let name = alias_name(&asked.name, &named)?;
    let version = asked.function_version.as_deref();
    let settings = AliasSettings {
        target: version.map(|text| target(&named, text)).transpose()?,
        splits: splits(&named, asked.routing_config)?,
        description: asked.description,
    };
    let guard = asked.revision_id.as_deref();
    let made = ctx
        .api
        .control
        .alias_update(&ctx.who, &named.function, &name, settings, guard)
        .await
        .map_err(|fault| match fault {
            ControlError::NotFound {
                what: Resource::Alias,
                ..
            } => error::resource_not_found(format!(
                "Alias not found: {}",
                arn(&named.function, &name)
            )),
            other => no_version(other, &named),
        })?;
    Ok(show(&named.function, made))
}

pub(super) async fn delete(ctx: &Ctx<'_>, asked: lambda::DeleteAliasRequest) -> Answer<()> {
    let named = unqualified(ctx, &asked.function_name)?;
    let name = alias_name(&asked.name, &named)?;
    let done = ctx
        .api
        .control
        .alias_delete(&ctx.who, &named.function, &name)
        .await;
    done.map_err(|fault| about(fault, &named))
}

pub(super) async fn list(
    ctx: &Ctx<'_>,
    asked: lambda::ListAliasesRequest,
) -> Answer<lambda::ListAliasesResponse> {
    let named = unqualified(ctx, &asked.function_name)?;
    let version = asked.function_version.as_deref();
    let version = version.map(|text| target(&named, text)).transpose()?;
    let page = ctx
        .api
        .control
        .alias_list(
            &ctx.who,
            &named.function,
            version,
            marker(&asked.marker),
            size(asked.max_items),
        )
        .await
        .map_err(|fault| about(fault, &named))?;
    let shown = page.items.into_iter().map(|one| show(&named.function, one));
    Ok(lambda::ListAliasesResponse {
        aliases: Some(shown.collect()),
        next_marker: page.next,
    })
}

fn show(of: &FunctionRef, alias: AliasV1) -> lambda::AliasConfiguration {
    let weights = |split: SplitV1| lambda::AliasRoutingConfiguration {
        additional_version_weights: Some(BTreeMap::from([(
            split.revision.to_string(),
            split.weight,
        )])),
    };
    lambda::AliasConfiguration {
        alias_arn: Some(arn(of, &alias.name)),
        function_version: Some(Qualifier::from(alias.target).to_string()),
        description: Some(alias.description),
        routing_config: alias.split.map(weights),
        revision_id: Some(alias.revision_id),
        name: Some(alias.name.to_string()),
    }
}

fn arn(of: &FunctionRef, name: &AliasName) -> String {
    qualified_arn(of, &Qualifier::Alias(name.clone()))
}

/// The model's pattern is that of a name.
fn alias_name(text: &str, named: &Named) -> Answer<AliasName> {
    text.parse().map_err(|_| {
        let arn = function_arn(&named.function);
        error::resource_not_found(format!("Cannot find alias arn: {arn}:{text}"))
    })
}

/// Of the model's pattern; a number that no version can have is one that is not there.
fn target(named: &Named, text: &str) -> Answer<TargetV1> {
    match text.parse() {
        Ok(Qualifier::Latest) => Ok(TargetV1::Head),
        Ok(Qualifier::Revision(number)) => Ok(TargetV1::Revision(number)),
        _ => Err(error::resource_not_found(format!(
            "Function not found: {}:{text}",
            function_arn(&named.function)
        ))),
    }
}

fn splits(
    named: &Named,
    config: Option<lambda::AliasRoutingConfiguration>,
) -> Answer<Option<Vec<SplitV1>>> {
    let Some(config) = config else {
        return Ok(None);
    };
    let weights = config.additional_version_weights.unwrap_or_default();
    let splits = weights
        .into_iter()
        .map(|(version, weight)| match target(named, &version)? {
            TargetV1::Revision(revision) => Ok(SplitV1 { revision, weight }),
            TargetV1::Head => Err(error::invalid_parameter_value(
                "$LATEST is not supported for an alias pointing to more than 1 version",
            )),
        });
    splits.collect::<Answer<_>>().map(Some)
}

/// A version that is not there is named by the text, not by the function's own ARN.
fn no_version(fault: ControlError, named: &Named) -> ApiError {
    match fault {
        ControlError::NotFound {
            what: Resource::Revision,
            name,
        } => {
            let number = name.rsplit(':').next().unwrap_or_default();
            let arn = function_arn(&named.function);
            error::resource_not_found(format!("Function not found: {arn}:{number}"))
        }
        other => about(other, named),
    }
}
