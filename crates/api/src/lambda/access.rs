//! Who may call which operation on what.

use super::Ctx;
use crate::arn::{Absent, Named, denied, function_arn, named};
use freehold_identity::policy::{Action, Decision, ResourceContext, decide};
use freehold_wire::{ApiError, common};

/// Whether the principal may manage at all: the tenant's own keys may; instances may not, until
/// roles carry policies.
pub(super) fn check_management(ctx: &Ctx<'_>, operation: &'static str) -> Result<(), ApiError> {
    let none = ResourceContext::default();
    match decide(
        &ctx.who,
        &ctx.place.tenant,
        Action("lambda:Manage"),
        &[],
        &none,
    ) {
        Decision::Allow => Ok(()),
        Decision::Deny => Err(denied(&ctx.who, &format!("lambda:{operation}"), "*")),
    }
}

/// The function that a management operation names; one of another account is out of reach, whether
/// it is there or not.
pub(super) fn own(ctx: &Ctx<'_>, text: &str, qualifier: Option<&str>) -> Result<Named, ApiError> {
    own_or(ctx, text, qualifier, Absent::AsGiven)
}

/// As [`own`], with the way in which the operation writes what cannot exist.
pub(super) fn own_or(
    ctx: &Ctx<'_>,
    text: &str,
    qualifier: Option<&str>,
    absent: Absent,
) -> Result<Named, ApiError> {
    let named = named(
        text,
        qualifier,
        &ctx.place.tenant,
        &ctx.place.region,
        absent,
    )?;
    if named.function.tenant == ctx.place.tenant {
        return Ok(named);
    }
    Err(common::access_denied(format!(
        "User: {} is not authorized to perform this operation on resource: {} because no \
         resource-based policy allows it",
        crate::arn::principal_arn(&ctx.who),
        function_arn(&named.function)
    )))
}
