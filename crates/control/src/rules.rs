//! The rules that a function's settings keep, as AWS states them, with our ceilings.

use crate::{ControlError, Field};
use freehold_domain::{
    TenantId,
    limits::Limits,
    network::{self, Networks},
    record::{LoggingV1, NetworkV1},
};
use std::collections::BTreeMap;

/// Names that belong to the platform. Source: Lambda developer guide, "Defined runtime
/// environment variables", the reserved ones.
const RESERVED: [&str; 18] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// Tags that one function may have. Source: Lambda developer guide, "Using tags".
pub(crate) const TAGS_MAX: usize = 50;

/// What of logging is to change; `None` keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggingChange {
    /// The group.
    pub group: Option<String>,
    /// `Text` or `JSON`.
    pub format: Option<String>,
    /// TRACE, DEBUG, INFO, WARN, ERROR, FATAL.
    pub application_level: Option<String>,
    /// DEBUG, INFO, WARN.
    pub system_level: Option<String>,
}

/// Settings that create and update share; `None` takes the default or keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The runtime's name.
    pub runtime: Option<String>,
    /// `module.function`.
    pub handler: Option<String>,
    /// The role's ARN.
    pub role: Option<String>,
    /// Free text, up to 256 characters.
    pub description: Option<String>,
    /// Longest run, seconds.
    pub timeout_s: Option<u32>,
    /// Memory, MiB.
    pub memory_mib: Option<u32>,
    /// Size of `/tmp`, MiB.
    pub tmp_mib: Option<u32>,
    /// All variables; an empty map removes them.
    pub environment: Option<BTreeMap<String, String>>,
    /// Logging.
    pub logging: Option<LoggingChange>,
    /// Whether published revisions start from an image.
    pub snap_start: Option<bool>,
    /// Subnets and security groups, whose ids name a policy; none of either for the node's own.
    pub vpc: Option<Vpc>,
    /// Fields that have no effect yet.
    pub without_effect: WithoutEffect,
}

/// Ids of subnets and security groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vpc {
    /// `subnet-` and the name of a policy.
    pub subnets: Vec<String>,
    /// `sg-` and the name of a policy.
    pub security_groups: Vec<String>,
}

/// Fields that have no effect yet: accepted with the default, else refused by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WithoutEffect {
    /// `Zip` is the default.
    pub package_type: Option<String>,
    /// Target of failed events.
    pub dead_letter: Option<String>,
    /// The tenant's own key.
    pub encryption_key: Option<String>,
    /// `PassThrough` is the default.
    pub tracing: Option<String>,
    /// Layers.
    pub layers: Vec<String>,
    /// Network file systems.
    pub file_systems: Vec<String>,
    /// Overrides of an OCI image's settings, or the image itself.
    pub image: Option<String>,
    /// A code signing configuration.
    pub code_signing: Option<String>,
    /// Settings of durable executions.
    pub durable: Option<String>,
    /// Settings of tenant isolation.
    pub tenancy: Option<String>,
    /// Settings of capacity providers.
    pub capacity_provider: Option<String>,
}

impl WithoutEffect {
    pub(crate) fn check(&self) -> Result<(), ControlError> {
        let list = |items: &Vec<String>| (!items.is_empty()).then(|| items.join(", "));
        let text = |value: &Option<String>, default: &str| {
            value
                .clone()
                .filter(|given| !given.is_empty() && given != default)
        };
        let given = [
            (Field::PackageType, text(&self.package_type, "Zip")),
            (Field::DeadLetter, text(&self.dead_letter, "")),
            (Field::EncryptionKey, text(&self.encryption_key, "")),
            (Field::Tracing, text(&self.tracing, "PassThrough")),
            (Field::Layers, list(&self.layers)),
            (Field::FileSystems, list(&self.file_systems)),
            (Field::Image, text(&self.image, "")),
            (Field::CodeSigning, text(&self.code_signing, "")),
            (Field::Durable, text(&self.durable, "")),
            (Field::TenancyConfig, text(&self.tenancy, "")),
            (Field::CapacityProvider, text(&self.capacity_provider, "")),
        ];
        match given.into_iter().find_map(|(field, v)| Some((field, v?))) {
            Some((field, value)) => Err(ControlError::NotSupported { field, value }),
            None => Ok(()),
        }
    }
}

pub(crate) fn in_range(field: Field, value: u32, min: u32, max: u32) -> Result<u32, ControlError> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(ControlError::OutOfRange {
        field,
        value: value.into(),
        min: min.into(),
        max: max.into(),
    })
}

pub(crate) fn handler(text: &str) -> Result<(), ControlError> {
    if text.is_empty() || text.len() > 128 || text.chars().any(char::is_whitespace) {
        let reason = "1 to 128 characters without white space";
        return Err(ControlError::invalid(Field::Handler, reason));
    }
    Ok(())
}

/// `arn:aws:iam::123456789012:role/path/name`.
pub(crate) fn role(text: &str) -> Result<(), ControlError> {
    let right = || {
        let mut parts = text.splitn(6, ':');
        let arn = parts.next()? == "arn";
        let partition = parts.next()?;
        let partition = partition.starts_with("aws")
            && partition
                .bytes()
                .all(|b| b.is_ascii_alphabetic() || b == b'-');
        let service = parts.next()? == "iam" && parts.next()?.is_empty();
        let account = parts.next()?;
        let account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let name = parts.next()?.strip_prefix("role/")?;
        let name = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&b));
        Some(arn && partition && service && account && name)
    };
    if right() == Some(true) {
        return Ok(());
    }
    let reason = format!("{:?} is not the ARN of a role", cut(text));
    Err(ControlError::invalid(Field::Role, reason))
}

/// Start images of published revisions are for these. Source: Lambda developer guide, "Improving
/// startup performance with Lambda SnapStart": Java 11, Python 3.12, .NET 8 and later. Any Python 3
/// is as good here, and .NET has no runtime.
pub(crate) fn snap_start(runtime: &str) -> Result<(), ControlError> {
    let java = runtime
        .strip_prefix("java")
        .map(|version| version.trim_end_matches(".al2"));
    let new_java = java.is_some_and(|version| version.parse().is_ok_and(|v: u32| v >= 11));
    if new_java || runtime.starts_with("python3.") {
        return Ok(());
    }
    let reason = format!(
        "{} is not supported for SnapStart enabled functions.",
        cut(runtime)
    );
    Err(ControlError::invalid(Field::SnapStart, reason))
}

/// The policy that all of the ids name; `None` for no ids.
pub(crate) fn vpc(
    vpc: &Vpc,
    networks: &Networks,
    tenant: &TenantId,
) -> Result<Option<NetworkV1>, ControlError> {
    let refused = |reason: String| ControlError::invalid(Field::Vpc, reason);
    let mut policy: Option<&str> = None;
    let subnets = vpc.subnets.iter().map(|id| (id, "subnet-"));
    let groups = vpc.security_groups.iter().map(|id| (id, "sg-"));
    for (id, prefix) in subnets.chain(groups) {
        let name = id.strip_prefix(prefix).unwrap_or(id);
        if networks.number_for(name, tenant).is_none() {
            let known: Vec<&str> = networks.names_for(tenant).collect();
            return Err(refused(format!(
                "{:?} names no network policy of this node; it has {}",
                cut(id),
                known.join(", ")
            )));
        }
        if policy.is_some_and(|other| other != name) {
            return Err(refused(format!(
                "{:?} names another network policy than the ids before it; a function has one",
                cut(id)
            )));
        }
        policy = Some(name);
    }
    let Some(policy) = policy else {
        return Ok(None);
    };
    can_have(policy, networks).map_err(refused)?;
    Ok(Some(NetworkV1 {
        policy: policy.to_owned(),
        subnets: vpc.subnets.clone(),
        security_groups: vpc.security_groups.clone(),
    }))
}

/// The policy that a function's tags name; `None` for none.
pub(crate) fn tagged(
    tags: &BTreeMap<String, String>,
    networks: &Networks,
    tenant: &TenantId,
) -> Result<Option<NetworkV1>, ControlError> {
    let Some(policy) = tags.get(network::TAG) else {
        return Ok(None);
    };
    let refused = |reason: String| ControlError::invalid(Field::Network, reason);
    if networks.number_for(policy, tenant).is_none() {
        let known: Vec<&str> = networks.names_for(tenant).collect();
        return Err(refused(format!(
            "the tag {} is {:?}, which names no network policy of this node; it has {}",
            network::TAG,
            cut(policy),
            known.join(", ")
        )));
    }
    can_have(policy, networks).map_err(refused)?;
    Ok(Some(NetworkV1 {
        policy: policy.clone(),
        subnets: Vec::new(),
        security_groups: vec![format!("sg-{policy}")],
    }))
}

/// Why no function of this node can have the policy.
fn can_have(policy: &str, networks: &Networks) -> Result<(), String> {
    match networks.missing() {
        Some(reason) if policy != network::NONE => {
            Err(format!("instances of this node have no network: {reason}"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn description(text: &str) -> Result<(), ControlError> {
    if text.chars().count() > 256 {
        return Err(ControlError::invalid(
            Field::Description,
            "at most 256 characters",
        ));
    }
    Ok(())
}

pub(crate) fn environment(
    variables: &BTreeMap<String, String>,
    limits: &Limits,
) -> Result<(), ControlError> {
    for (name, value) in variables {
        // The reserved names that begin with '_' are told apart from malformed ones below.
        let shape = name.len() >= 2
            && name.as_bytes()[0].is_ascii_alphabetic()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !shape && !RESERVED.contains(&name.as_str()) {
            let reason = format!(
                "{:?} is no name: a letter, then letters, digits and '_'",
                cut(name)
            );
            return Err(ControlError::invalid(Field::Environment, reason));
        }
        if value.contains('\0') {
            let reason = format!("the value of {} has a NUL", cut(name));
            return Err(ControlError::invalid(Field::Environment, reason));
        }
    }
    let names: Vec<String> = RESERVED
        .iter()
        .filter(|name| variables.contains_key(**name))
        .map(|name| (*name).to_owned())
        .collect();
    if !names.is_empty() {
        return Err(ControlError::ReservedVariables { names });
    }
    let found_bytes = serde_json::to_string(variables)
        .expect("a map of strings serializes")
        .len() as u64;
    if !variables.is_empty() && found_bytes > limits.environment_bytes {
        return Err(ControlError::EnvironmentTooLarge {
            limit_bytes: limits.environment_bytes,
            found_bytes,
        });
    }
    Ok(())
}

/// Applies a change of logging, as AWS does: levels exist with JSON only, INFO unless given, and
/// go away with a switch to text.
pub(crate) fn logging(
    before: &LoggingV1,
    change: &LoggingChange,
) -> Result<LoggingV1, ControlError> {
    let json = match change.format.as_deref() {
        None => before.json,
        Some("JSON") => true,
        Some("Text") => false,
        Some(other) => {
            let reason = format!("{:?} is neither Text nor JSON", cut(other));
            return Err(ControlError::invalid(Field::LogFormat, reason));
        }
    };
    let group = match change.group.as_deref() {
        None => before.group.clone(),
        Some(name) => {
            log_group(name)?;
            Some(name.to_owned())
        }
    };
    let (application, system) = (&change.application_level, &change.system_level);
    if !json {
        if application.is_some() || system.is_some() {
            return Err(ControlError::invalid(
                Field::LogLevel,
                "levels need the JSON format",
            ));
        }
        return Ok(LoggingV1 {
            group,
            json,
            application_level: None,
            system_level: None,
        });
    }
    let level = |given: &Option<String>, before: &Option<String>, known: &[&str]| {
        let level = given.as_deref().or(before.as_deref()).unwrap_or("INFO");
        if known.contains(&level) {
            return Ok(Some(level.to_owned()));
        }
        let reason = format!("{:?} is none of {}", cut(level), known.join(", "));
        Err(ControlError::invalid(Field::LogLevel, reason))
    };
    let all = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    Ok(LoggingV1 {
        group,
        json,
        application_level: level(application, &before.application_level, &all)?,
        system_level: level(system, &before.system_level, &["DEBUG", "INFO", "WARN"])?,
    })
}

pub(crate) fn log_group(name: &str) -> Result<(), ControlError> {
    let shape = (1..=512).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-/.#".contains(&b));
    if shape {
        return Ok(());
    }
    let reason = "1 to 512 letters, digits, '_', '-', '/', '.' and '#'";
    Err(ControlError::invalid(Field::LogGroup, reason))
}

pub(crate) fn tags(tags: &BTreeMap<String, String>) -> Result<(), ControlError> {
    for (key, value) in tags {
        let reason = match () {
            () if key.is_empty() || key.chars().count() > 128 => "a key has 1 to 128 characters",
            () if value.chars().count() > 256 => "a value has at most 256 characters",
            () if key.to_ascii_lowercase().starts_with("aws:") => {
                "keys that begin with aws: are reserved"
            }
            () => continue,
        };
        return Err(ControlError::invalid(Field::Tags, reason));
    }
    if tags.len() > TAGS_MAX {
        return Err(ControlError::LimitExceeded {
            limit: crate::Limit::Tags,
            max: TAGS_MAX as u64,
        });
    }
    Ok(())
}

/// What of a caller's text goes into an error.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_role_is_the_arn_of_a_role() {
        for good in [
            "arn:aws:iam::123456789012:role/r",
            "arn:aws-us-gov:iam::123456789012:role/service-role/a+=,.@-_b",
        ] {
            assert!(role(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "r",
            "arn:aws:iam::123:role/r",
            "arn:aws:iam::123456789012:user/r",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam:us-east-1:123456789012:role/r",
            "arn:aws:iam::123456789012:role/a b",
        ] {
            assert!(role(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_environment_keeps_names_reserved_names_and_size() {
        let limits = Limits::default();
        let check = |pairs: &[(&str, &str)]| environment(&variables(pairs), &limits);
        assert!(check(&[("PATH", "x"), ("TZ", ""), ("a_1", "ä")]).is_ok());
        for bad in ["A", "1A", "_A", "A-B", "Ä1", ""] {
            let found = check(&[(bad, "x")]);
            assert!(matches!(found, Err(ControlError::Invalid { .. })), "{bad}");
        }
        assert!(check(&[("AB", "a\0b")]).is_err());
        match check(&[("AWS_REGION", "x"), ("_HANDLER", "x")]) {
            Err(ControlError::ReservedVariables { names }) => {
                assert_eq!(names, ["_HANDLER", "AWS_REGION"]);
            }
            other => panic!("{other:?}"),
        }
        // {"AB":"…"} has nine bytes beside the value.
        assert!(check(&[("AB", &"x".repeat(4096 - 9))]).is_ok());
        let over = check(&[("AB", &"x".repeat(4096 - 8))]);
        assert!(matches!(
            over,
            Err(ControlError::EnvironmentTooLarge {
                found_bytes: 4097,
                ..
            })
        ));
    }

    #[test]
    fn log_levels_come_and_go_with_json() {
        let text = LoggingV1 {
            group: None,
            json: false,
            application_level: None,
            system_level: None,
        };
        let to_json = LoggingChange {
            format: Some("JSON".into()),
            ..Default::default()
        };
        let json = logging(&text, &to_json).unwrap();
        assert_eq!(json.application_level.as_deref(), Some("INFO"));
        assert_eq!(json.system_level.as_deref(), Some("INFO"));
        let level = LoggingChange {
            application_level: Some("TRACE".into()),
            ..Default::default()
        };
        let traced = logging(&json, &level).unwrap();
        assert_eq!(traced.application_level.as_deref(), Some("TRACE"));
        assert!(logging(&text, &level).is_err());
        let to_text = LoggingChange {
            format: Some("Text".into()),
            ..Default::default()
        };
        assert_eq!(logging(&traced, &to_text).unwrap(), text);
        let wrong = LoggingChange {
            system_level: Some("FATAL".into()),
            ..Default::default()
        };
        assert!(logging(&json, &wrong).is_err());
    }

    #[test]
    fn a_field_without_effect_is_taken_at_its_default_only() {
        let default = WithoutEffect {
            package_type: Some("Zip".into()),
            tracing: Some("PassThrough".into()),
            dead_letter: Some(String::new()),
            ..Default::default()
        };
        assert!(default.check().is_ok());
        let active = WithoutEffect {
            tracing: Some("Active".into()),
            ..Default::default()
        };
        assert!(matches!(
            active.check(),
            Err(ControlError::NotSupported {
                field: Field::Tracing,
                ..
            })
        ));
    }

    #[test]
    fn tags_have_a_shape_and_a_number() {
        let many = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new())).collect();
        assert!(tags(&many(50)).is_ok());
        assert!(matches!(
            tags(&many(51)),
            Err(ControlError::LimitExceeded { .. })
        ));
        assert!(tags(&variables(&[("aws:x", "")])).is_err());
        assert!(tags(&variables(&[("", "")])).is_err());
        assert!(tags(&variables(&[("k", &"x".repeat(257))])).is_err());
    }
}
