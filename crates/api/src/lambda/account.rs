//! The account's settings.

use super::{Ctx, explain};
use freehold_wire::{ApiError, lambda};

pub(super) async fn settings(
    ctx: &Ctx<'_>,
    _asked: lambda::GetAccountSettingsRequest,
) -> Result<lambda::GetAccountSettingsResponse, ApiError> {
    let found = ctx.api.control.account_settings(&ctx.who, &ctx.place).await;
    let found = found.map_err(explain::plain)?;
    Ok(lambda::GetAccountSettingsResponse {
        account_limit: Some(lambda::AccountLimit {
            total_code_size: Some(found.code_storage_bytes as i64),
            code_size_unzipped: Some(found.package_unpacked_bytes as i64),
            code_size_zipped: Some(found.package_zip_bytes as i64),
            concurrent_executions: Some(found.concurrency as i32),
            unreserved_concurrent_executions: Some(found.unreserved_concurrency as i32),
        }),
        account_usage: Some(lambda::AccountUsage {
            total_code_size: Some(found.usage.code_bytes as i64),
            function_count: Some(found.usage.functions as i64),
        }),
    })
}
