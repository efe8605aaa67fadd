//! Tags of functions, by ARN.

use super::{Ctx, access::own, explain::about};
use crate::arn::Named;
use freehold_wire::{
    ApiError,
    lambda::{self, error},
};

pub(super) async fn add(ctx: &Ctx<'_>, asked: lambda::TagResourceRequest) -> Result<(), ApiError> {
    let named = function(ctx, &asked.resource)?;
    let done = ctx
        .api
        .control
        .tags_add(&ctx.who, &named.function, asked.tags)
        .await;
    done.map_err(|fault| about(fault, &named))
}

pub(super) async fn remove(
    ctx: &Ctx<'_>,
    asked: lambda::UntagResourceRequest,
) -> Result<(), ApiError> {
    let named = function(ctx, &asked.resource)?;
    let done = ctx
        .api
        .control
        .tags_remove(&ctx.who, &named.function, &asked.tag_keys)
        .await;
    done.map_err(|fault| about(fault, &named))
}

pub(super) async fn list(
    ctx: &Ctx<'_>,
    asked: lambda::ListTagsRequest,
) -> Result<lambda::ListTagsResponse, ApiError> {
    let named = function(ctx, &asked.resource)?;
    let found = ctx.api.control.tags_list(&ctx.who, &named.function).await;
    let tags = found.map_err(|fault| about(fault, &named))?;
    Ok(lambda::ListTagsResponse { tags: Some(tags) })
}

fn function(ctx: &Ctx<'_>, resource: &str) -> Result<Named, ApiError> {
    if let Some(kind) = [
        "layer:",
        "code-signing-config:",
        "event-source-mapping:",
        "capacity-provider:",
    ]
    .into_iter()
    .find(|kind| resource.contains(*kind))
    {
        return Err(error::resource_not_found(format!(
            "{} not found: {resource}",
            match kind {
                "event-source-mapping:" => "Event source mapping",
                "layer:" => "Layer",
                "code-signing-config:" => "Code signing configuration",
                _ => "Capacity provider",
            }
        )));
    }
    let named = own(ctx, resource, None)?;
    match named.qualifier {
        None => Ok(named),
        Some(_) => Err(error::invalid_parameter_value(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        )),
    }
}
