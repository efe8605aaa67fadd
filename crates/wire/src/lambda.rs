//! AWS Lambda: generated operations, shapes and errors, and the checks that its model lacks.

pub use crate::generated::lambda::*;
use crate::{ApiError, WireFault};

/// Characters that the name in a function's name or ARN may have when the function is created.
/// The model allows 140, which is meant for the ARN forms.
const NAME_PART_MAX: usize = 64;

/// CreateFunction counts the name alone and answers under its own code.
/// Source: recording `TestLambdaFunction::test_function_arns`, step `long_function_name_exc`.
pub(crate) fn function_name_part(request: &CreateFunctionRequest) -> Result<(), WireFault> {
    let name = name_part(&request.function_name);
    if name.len() <= NAME_PART_MAX {
        return Ok(());
    }
    Err(WireFault::InvalidParameter(format!(
        "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: \
         Member must have length less than or equal to {NAME_PART_MAX}"
    )))
}

/// The bare name of a name, partial ARN or ARN that satisfies the model's pattern.
fn name_part(name: &str) -> &str {
    match name.split_once("function:") {
        Some((_, rest)) => rest.split(':').next().unwrap_or(rest),
        None => {
            // `ACCOUNT:name`, `name:qualifier` or `name`: an account is twelve digits.
            let mut parts = name.split(':');
            let first = parts.next().unwrap_or(name);
            let account = first.len() == 12 && first.bytes().all(|b| b.is_ascii_digit());
            parts.next().filter(|_| account).unwrap_or(first)
        }
    }
}

/// The answer to a runtime that no function may be created with. The names are the platform's to
/// know, so the model's own enumeration is switched off.
///
/// Source: the service reports it under `InvalidParameterValueException`, without counting errors.
pub fn unsupported_runtime(given: &str, supported: &[&str]) -> ApiError {
    error::invalid_parameter_value(format!(
        "Value {given} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a valid ARN",
        supported.join(", "),
    ))
}

/// The answer to a number over a ceiling of configuration, in the words that the service has for a
/// ceiling of the model: `above_ceiling("memorySize", 20480, 10240)`.
pub fn above_ceiling(member: &str, given: i64, ceiling: i64) -> ApiError {
    WireFault::Validation(format!(
        "1 validation error detected: Value '{given}' at '{member}' failed to satisfy constraint: \
         Member must have value less than or equal to {ceiling}"
    ))
    .into_error(crate::Service::Lambda)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_part_is_found_in_every_form() {
        let check = |given, expected| assert_eq!(name_part(given), expected, "{given}");
        check("hello", "hello");
        check("hello:$LATEST", "hello");
        check("function:hello", "hello");
        check("111111111111:function:hello:1", "hello");
        check("111111111111:hello", "hello");
        check("111111111111", "111111111111");
        check(
            "arn:aws:lambda:us-east-1:111111111111:function:hello:prod",
            "hello",
        );
    }
}
