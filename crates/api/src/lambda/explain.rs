//! The control plane's errors in AWS's words.

use crate::arn::{Named, function_arn, qualified_arn};
use freehold_control::{ControlError, Field, Limit, Resource, archive::ArchiveError};
use freehold_domain::{Qualifier, TenantLimit, ports::SinkError};
use freehold_wire::{
    ApiError, common,
    lambda::{self, error},
};

/// What a caller hears of [`ControlError::Unavailable`].
const NOT_NOW: &str = "What was asked for cannot be answered at this time; try again.";

/// Names that AWS takes no more; one whose interpreter the machine has is served all the same.
/// Source: Lambda developer guide, "Deprecated runtimes".
const DEPRECATED: [&str; 26] = [
    "nodejs",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "java8",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "dotnet5.0",
    "dotnet6",
    "dotnet7",
    "ruby2.5",
    "ruby2.7",
    "go1.x",
    "provided",
    "ruby3.2",
];

/// With the function that was asked for, which most texts name.
pub(super) fn about(fault: ControlError, asked: &Named) -> ApiError {
    let arn = function_arn(&asked.function);
    let asked_arn = match &asked.qualifier {
        Some(qualifier) => qualified_arn(&asked.function, qualifier),
        None => arn.clone(),
    };
    match fault {
        ControlError::NotFound {
            what: Resource::Function | Resource::Revision,
            ..
        } => error::resource_not_found(format!("Function not found: {asked_arn}")),
        ControlError::NotFound {
            what: Resource::Alias,
            ..
        } => error::resource_not_found(format!("Function not found: {asked_arn}")),
        ControlError::NotFound { .. } => {
            error::resource_not_found("The resource you requested does not exist.")
        }
        ControlError::AlreadyExists {
            what: Resource::Function,
            ..
        } => error::resource_conflict(format!("Function already exist: {}", asked.function.name)),
        ControlError::Busy { pending, .. } => error::resource_conflict(format!(
            "The operation cannot be performed at this time. {} for resource: {asked_arn}",
            if pending {
                "The function is currently in the following state: Pending"
            } else {
                "An update is in progress"
            }
        )),
        other => plain(other),
    }
}

/// Where no function is in question.
pub(crate) fn plain(fault: ControlError) -> ApiError {
    match fault {
        ControlError::NotFound { what, name } => {
            error::resource_not_found(format!("{what:?} not found: {name}"))
        }
        ControlError::AlreadyExists { what, name } => {
            error::resource_conflict(format!("{what:?} already exists: {name}"))
        }
        ControlError::Busy { function, .. } => error::resource_conflict(format!(
            "The operation cannot be performed at this time. An update is in progress for resource: {function}"
        )),
        ControlError::PreconditionFailed { what } => error::precondition_failed(match what {
            Resource::Policy => {
                "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id"
            }
            _ => {
                "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
            }
        }),
        ControlError::CodeMismatch { given, found } => error::invalid_parameter_value(format!(
            "CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({found}). Please try again with the CodeSHA256 in $LATEST."
        )),
        ControlError::Contended { name } => error::too_many_requests(format!(
            "{name} is being changed by other requests; try again"
        )),
        ControlError::Invalid {
            field: Field::Tags, ..
        } => {
            error::invalid_parameter_value("An error occurred and the request cannot be processed.")
        }
        ControlError::Invalid {
            field: Field::Vpc,
            reason,
        } => error::invalid_parameter_value(format!("VpcConfig: {reason}")),
        ControlError::Invalid { reason, .. } => error::invalid_parameter_value(reason),
        ControlError::OutOfRange {
            field,
            value,
            min,
            max,
        } => out_of_range(field, value, min, max),
        ControlError::ReservedVariables { names } => error::invalid_parameter_value(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            names.join(", ")
        )),
        ControlError::EnvironmentTooLarge {
            limit_bytes,
            found_bytes,
        } => error::invalid_parameter_value(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the {} limit. {found_bytes} bytes were measured.",
            if limit_bytes % 1024 == 0 {
                format!("{}KB", limit_bytes / 1024)
            } else {
                format!("{limit_bytes} bytes")
            }
        )),
        ControlError::NotSupported { field, value } => error::invalid_parameter_value(format!(
            "{} {value:?} is not supported by this release of Freehold: leave the field out or at its default",
            member(field)
        )),
        ControlError::CodeTooLarge {
            limit_bytes,
            found_bytes,
        } => common::request_too_large(format!(
            "The uploaded package of {found_bytes} bytes is larger than {limit_bytes} bytes"
        )),
        ControlError::BadArchive { source } => bad_archive(&source),
        ControlError::BadCode { reason } => error::invalid_parameter_value(format!(
            "The code of the function cannot be run: {reason}"
        )),
        ControlError::CodeWaits { .. } => error::too_many_requests(
            "Too much code is being compiled at this time; try again in some seconds".to_owned(),
        ),
        ControlError::LimitExceeded { limit, max } => limit_exceeded(limit, max),
        ControlError::Referenced { aliases } => {
            let names: Vec<&str> = aliases.iter().map(|alias| alias.as_str()).collect();
            error::resource_conflict(format!(
                "Unable to delete version because the following aliases reference it: [{}]",
                names.join(", ")
            ))
        }
        ControlError::NotStarted { target, reason } => error::invalid_parameter_value(format!(
            "Version {} does not start, so no alias may point at it: {reason}",
            Qualifier::from(target)
        )),
        ControlError::UnknownRuntime { name, .. } if DEPRECATED.contains(&name.as_str()) => {
            error::invalid_parameter_value(format!(
                "The runtime parameter of {name} is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions."
            ))
        }
        ControlError::UnknownRuntime { name, remedy } => error::invalid_parameter_value(format!(
            "Value {name} at 'runtime' cannot be served: {remedy}"
        )),
        ControlError::Denied { .. } => {
            common::access_denied("The resource belongs to another account.")
        }
        ControlError::NotOperator => {
            common::access_denied("Only the root key of the node's operator may do that.")
        }
        ControlError::SharedUid => error::invalid_parameter_value(
            "All instances of this node run under one user id, which keeps no tenants apart: start the server as root, or set server.shared_uid_tenants = true in its freehold.toml and start it again.",
        ),
        ControlError::Needed { what, name } => error::invalid_parameter_value(format!(
            "{what:?} {name} cannot be disabled: the node is managed with it."
        )),
        ControlError::DiskFull => {
            common::service_unavailable("The disk of this node is full; nothing was changed.")
        }
        ControlError::Unavailable { reason } => {
            tracing::warn!(reason, "a request was answered with \"try again\"");
            common::service_unavailable(NOT_NOW).with_retry_after_s(1)
        }
        ControlError::Internal { doing, source } => {
            tracing::error!(doing, error = %chain(&*source), "the control plane failed");
            error::service("An error occurred and the request cannot be processed.")
        }
    }
}

/// What Lambda says of an asynchronous event over its limit, which it words unlike all others.
pub(super) fn event_too_large(length: u64, limit: u64) -> ApiError {
    common::request_too_large(format!(
        "{length} byte payload is too large for the Event invocation type (limit {limit} bytes)"
    ))
}

/// A chain of functions that call each other without end.
pub(super) fn loops(hops: u8) -> ApiError {
    error::recursive_invocation(format!(
        "The call chain was stopped: {hops} functions called each other"
    ))
}

/// An event that the queue did not take.
pub(super) fn not_taken(fault: &SinkError, length: u64) -> ApiError {
    match fault {
        SinkError::TooLarge { limit_bytes } => event_too_large(length, *limit_bytes),
        SinkError::DiskFull | SinkError::Unavailable { .. } => {
            common::service_unavailable(fault.to_string()).with_retry_after_s(1)
        }
        SinkError::LoopDetected { hops } => loops(*hops),
        SinkError::Failed { .. } => {
            tracing::error!(%fault, "an event could not be stored");
            error::service("The event could not be stored.")
        }
    }
}

fn bad_archive(fault: &ArchiveError) -> ApiError {
    const CANNOT: &str =
        "Could not unzip uploaded file. Please check your file, then try to upload again.";
    error::invalid_parameter_value(match fault {
        ArchiveError::TooLarge { limit_bytes } => {
            format!("Unzipped size must be smaller than {limit_bytes} bytes")
        }
        ArchiveError::Empty => "Uploaded file must be a non-empty zip".to_owned(),
        ArchiveError::NotAnArchive { .. } => CANNOT.to_owned(),
        other => format!("{CANNOT} ({other})"),
    })
}

fn limit_exceeded(limit: Limit, max: u64) -> ApiError {
    match limit {
        Limit::CodeStorage => {
            error::code_storage_exceeded(format!("Code storage limit exceeded: {max} bytes."))
        }
        Limit::UnreservedConcurrency => error::invalid_parameter_value(format!(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{max}]."
        )),
        Limit::Tags => error::invalid_parameter_value("Number of tags exceeds resource tag limit."),
        Limit::Functions => error::invalid_parameter_value(format!(
            "The account has all of the {max} functions that it may have; {}.",
            TenantLimit::Functions.raise()
        )),
        Limit::Versions => error::invalid_parameter_value(format!(
            "The account has all of the {max} published versions that it may have; {}.",
            TenantLimit::Versions.raise()
        )),
        Limit::Aliases => error::alias_limit_exceeded(format!(
            "The function has all of the {max} aliases that it may have."
        )),
        // In the words of IAM.
        Limit::Tenants => quota(format!("Cannot exceed quota for Tenants: {max}")),
        Limit::AccessKeys => quota(format!(
            "Cannot exceed quota for AccessKeysPerTenant: {max}"
        )),
        Limit::PriceChanges => quota(format!(
            "Cannot exceed quota for ChangesPerPriceBook: {max}"
        )),
        Limit::BillTagValues => quota(format!(
            "The tag has more than {max} values in the month: ask for the bill by function."
        )),
        Limit::Budgets => quota(format!("Cannot exceed quota for BudgetsPerTenant: {max}")),
        Limit::PolicyBytes => error::policy_length_exceeded(format!(
            "The final policy size is bigger than the limit ({max})."
        )),
    }
}

fn quota(text: String) -> ApiError {
    ApiError::new("LimitExceededException", 409, text)
}

fn out_of_range(field: Field, value: u64, min: u64, max: u64) -> ApiError {
    let clamp = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    if value > max {
        return lambda::above_ceiling(member(field), clamp(value), clamp(max));
    }
    ApiError::new(
        "ValidationException",
        400,
        format!(
            "1 validation error detected: Value '{value}' at '{}' failed to satisfy constraint: Member must have value greater than or equal to {min}",
            member(field)
        ),
    )
}

/// The field's name on the wire.
fn member(field: Field) -> &'static str {
    match field {
        Field::TenantLimit(limit) => limit.row().name,
        Field::Timeout => "timeout",
        Field::Memory => "memorySize",
        Field::Tmp => "ephemeralStorage.size",
        Field::ReservedConcurrency => "reservedConcurrentExecutions",
        Field::PackageType => "PackageType",
        Field::Vpc => "VpcConfig",
        Field::DeadLetter => "DeadLetterConfig",
        Field::EncryptionKey => "KMSKeyArn",
        Field::Tracing => "TracingConfig",
        Field::Layers => "Layers",
        Field::FileSystems => "FileSystemConfigs",
        Field::Image => "ImageConfig",
        Field::CodeSigning => "CodeSigningConfigArn",
        Field::SnapStart => "SnapStart",
        Field::Durable => "DurableConfig",
        Field::TenancyConfig => "TenancyConfig",
        Field::CapacityProvider => "CapacityProviderConfig",
        Field::Architecture => "Architectures",
        Field::UrlInvokeMode => "invokeMode",
        Field::KeyOverlap => "overlapSeconds",
        _ => "value",
    }
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::{
        FunctionRef,
        ports::{CommitError, ReadError},
    };

    #[test]
    fn what_will_be_possible_in_a_while_is_a_503_that_says_when_and_not_why() {
        let asked = Named {
            function: FunctionRef {
                tenant: "000000000000".parse().expect("a tenant"),
                region: "us-east-1".parse().expect("a region"),
                name: "f".parse().expect("a name"),
            },
            qualifier: None,
        };
        let reason = || "logs.db is being made again".to_owned();
        let read = ReadError::Unavailable { reason: reason() };
        let write = CommitError::Unavailable { reason: reason() };
        for fault in [ControlError::from(read), ControlError::from(write)] {
            let answer = about(fault, &asked);
            assert_eq!(answer.status, 503, "{answer:?}");
            assert_eq!(answer.code, "ServiceUnavailableException");
            assert_eq!(answer.retry_after_s, Some(1));
            assert_eq!(answer.message, NOT_NOW);
        }
        // What fails for good is told apart from it.
        let failed = ReadError::Failed { reason: reason() };
        let answer = about(failed.into(), &asked);
        assert_eq!((answer.status, answer.retry_after_s), (500, None));
    }
}
