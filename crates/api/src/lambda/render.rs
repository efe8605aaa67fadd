//! Our records in AWS's shapes.

use super::Ctx;
use crate::arn::{function_arn, qualified_arn};
use freehold_control::{Described, Environment, revisions::code_digest, usage::DayUsage};
use freehold_domain::{
    Qualifier, Wall,
    record::{CorsV1, FunctionStateV1, ImageStateV1, LoggingV1, UpdateStateV1},
};
use freehold_wire::lambda;

/// `2026-11-21T02:00:00.000+0000`, Lambda's own form of a time.
pub(super) fn time(at: Wall) -> String {
    let at = jiff::Timestamp::from_microsecond(at.0).unwrap_or_default();
    format!(
        "{}.{:03}+0000",
        at.strftime("%Y-%m-%dT%H:%M:%S"),
        at.subsec_millisecond()
    )
}

/// The ARN in answers: unqualified for a bare head, else with what was asked for.
pub(super) fn arn(described: &Described, qualified: bool) -> String {
    if let Some(alias) = &described.alias {
        return qualified_arn(&described.function, &Qualifier::Alias(alias.clone()));
    }
    match (&described.qualifier, qualified) {
        (Qualifier::Latest, false) => function_arn(&described.function),
        (qualifier, _) => qualified_arn(&described.function, qualifier),
    }
}

/// A head's or revision's configuration. `qualified`: the caller named a qualifier.
pub(super) fn configuration(
    described: Described,
    qualified: bool,
) -> lambda::FunctionConfiguration {
    let arn = arn(&described, qualified);
    let (state, mut state_reason, state_code) = state(&described.state);
    // AWS has no place for it: there, whatever initialises has a snapshot.
    if let ImageStateV1::Refused { reason } = &described.image {
        let text = || format!("SnapStart does not apply to this version: {reason}");
        state_reason = state_reason.or_else(|| Some(text()));
    }
    let (update, update_reason, update_code) = update(&described.last_update);
    let runtime = described.spec.runtime.to_string();
    let shown = |text: &str| Some(text.to_owned());
    let spec = described.spec;
    let environment = match described.environment {
        Environment::Variables(_) if spec.environment.is_none() => None,
        Environment::Variables(variables) => Some(lambda::EnvironmentResponse {
            variables: Some(variables),
            error: None,
        }),
        Environment::Unreadable => Some(lambda::EnvironmentResponse {
            variables: None,
            error: Some(lambda::EnvironmentError {
                error_code: shown("AccessDeniedException"),
                message: shown("The variables do not open with the keys of this node."),
            }),
        }),
    };
    // What is being made says so instead of how its last update went.
    let first = described.state == FunctionStateV1::Pending;
    lambda::FunctionConfiguration {
        function_name: Some(described.function.name.to_string()),
        function_arn: Some(arn),
        runtime: Some(runtime.clone()),
        role: Some(spec.role),
        handler: spec.handler,
        code_size: Some(spec.package.zip_bytes as i64),
        description: Some(spec.description),
        timeout: Some(spec.timeout_s as i32),
        memory_size: Some(spec.memory.0 as i32),
        last_modified: Some(time(spec.modified)),
        code_sha256: Some(code_digest(&spec.package.digest)),
        version: Some(described.qualifier.to_string()),
        environment,
        tracing_config: Some(lambda::TracingConfigResponse {
            mode: shown("PassThrough"),
        }),
        revision_id: Some(spec.revision_id),
        state,
        state_reason,
        state_reason_code: state_code,
        last_update_status: if first { None } else { update },
        last_update_status_reason: if first { None } else { update_reason },
        last_update_status_reason_code: if first { None } else { update_code },
        package_type: shown("Zip"),
        architectures: Some(vec![spec.architecture]),
        ephemeral_storage: Some(lambda::EphemeralStorage {
            size: spec.tmp.0 as i32,
        }),
        vpc_config: match (spec.network, spec.left_network) {
            (Some(network), _) => Some(vpc(network.subnets, network.security_groups, VPC)),
            (None, true) => Some(vpc(Vec::new(), Vec::new(), "")),
            (None, false) => None,
        },
        snap_start: Some(lambda::SnapStartResponse {
            apply_on: shown(if spec.snap_start {
                "PublishedVersions"
            } else {
                "None"
            }),
            optimization_status: shown(match described.image {
                ImageStateV1::Made => "On",
                ImageStateV1::None | ImageStateV1::Refused { .. } => "Off",
            }),
        }),
        runtime_version_config: Some(lambda::RuntimeVersionConfig {
            runtime_version_arn: Some(runtime_arn(
                &described.function.region,
                spec.substitute
                    .as_ref()
                    .map_or(runtime.as_str(), |name| name.as_str()),
            )),
            error: None,
        }),
        logging_config: Some(logging(&spec.logging, described.function.name.as_str())),
        ..lambda::FunctionConfiguration::default()
    }
}

/// The private network of a node, in which policies differ by subnet and security group.
const VPC: &str = "vpc-node";

fn vpc(subnets: Vec<String>, groups: Vec<String>, id: &str) -> lambda::VpcConfigResponse {
    lambda::VpcConfigResponse {
        subnet_ids: Some(subnets),
        security_group_ids: Some(groups),
        vpc_id: Some(id.to_owned()),
        ipv6_allowed_for_dual_stack: Some(false),
    }
}

/// Names the runtime that runs the function: where another stands in for the one asked for, the
/// stand-in.
fn runtime_arn(region: &freehold_domain::Region, name: &str) -> String {
    format!("arn:aws:lambda:{region}::runtime:{name}")
}

fn state(state: &FunctionStateV1) -> (Option<String>, Option<String>, Option<String>) {
    match state {
        FunctionStateV1::Pending => (
            Some("Pending".into()),
            Some("The function is being created.".into()),
            Some("Creating".into()),
        ),
        FunctionStateV1::Active => (Some("Active".into()), None, None),
        FunctionStateV1::Failed { code, reason } => (
            Some("Failed".into()),
            Some(reason.clone()),
            Some(code.clone()),
        ),
    }
}

fn update(update: &UpdateStateV1) -> (Option<String>, Option<String>, Option<String>) {
    match update {
        UpdateStateV1::Successful => (Some("Successful".into()), None, None),
        UpdateStateV1::InProgress => (
            Some("InProgress".into()),
            Some("The function is being created.".into()),
            Some("Creating".into()),
        ),
        UpdateStateV1::Failed { code, reason } => (
            Some("Failed".into()),
            Some(reason.clone()),
            Some(code.clone()),
        ),
    }
}

fn logging(logging: &LoggingV1, name: &str) -> lambda::LoggingConfig {
    lambda::LoggingConfig {
        log_format: Some(if logging.json { "JSON" } else { "Text" }.to_owned()),
        application_log_level: logging.application_level.clone(),
        system_log_level: logging.system_level.clone(),
        log_group: Some(
            logging
                .group
                .clone()
                .unwrap_or_else(|| format!("/aws/lambda/{name}")),
        ),
    }
}

/// CORS settings in AWS's shape.
pub(super) fn cors(cors: &CorsV1) -> lambda::Cors {
    lambda::Cors {
        allow_credentials: cors.allow_credentials,
        allow_headers: cors.allow_headers.clone(),
        allow_methods: cors.allow_methods.clone(),
        allow_origins: cors.allow_origins.clone(),
        expose_headers: cors.expose_headers.clone(),
        max_age: cors.max_age_s.map(|s| s as i32),
    }
}

/// `SCHEME://ID.lambda-url.REGION.DOMAIN:PORT/`.
pub(super) fn function_url(ctx: &Ctx<'_>, id: &str) -> String {
    let (scheme, port) = ctx.api.url_end();
    format!(
        "{scheme}://{id}.lambda-url.{}.{}:{port}/",
        ctx.place.region, ctx.api.url_domain
    )
}

/// A line of `GetUsage`.
pub(super) fn usage_row(row: DayUsage) -> serde_json::Value {
    let sums = row.usage.sums;
    serde_json::json!({
        "FunctionName": row.function, "Day": row.day,
        "Invocations": row.usage.invocations, "Errors": row.usage.errors,
        "BilledMs": sums.billed_ms, "BilledMibMs": row.usage.billed_mib_ms,
        "GbSeconds": row.usage.billed_mib_ms as f64 / 1024.0 / 1000.0,
        "RunUs": sums.run_us, "InitUs": sums.init_us, "StartUs": sums.start_us,
        "QueueUs": sums.queue_us, "CpuUs": sums.cpu_us,
        "BytesIn": sums.bytes_in, "BytesOut": sums.bytes_out,
        "NetworkBytesIn": row.usage.network.back, "NetworkBytesOut": row.usage.network.out,
    })
}
