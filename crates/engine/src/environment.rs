//! The environment of an instance: the tenant's variables, then those that Lambda reserves.
//!
//! What belongs to the runtime (`PATH`, `LANG`, `LAMBDA_TASK_ROOT`, …) comes with the runtime's row
//! and stands below both. Source: AWS Lambda developer guide, "Defined runtime environment
//! variables", and the recorded introspections.

use crate::{logs::InstanceLog, parts::processors, pool::Phase, route::Revision};
use freehold_domain::ports::{CREDENTIALS_PATH, PLATFORM_ADDRESS, RUNTIME_API_ADDRESS, SessionKey};
use std::collections::BTreeMap;

type Variables<'a> = BTreeMap<&'a str, String>;

/// What sizes the thread pools of numeric libraries: the first for most of them, the others where a
/// tenant has been more exact.
const THREADS: [&str; 4] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
];

/// What SDKs ask an endpoint for credentials by; AWS reserves none of them. A function that says one
/// says all.
const CONTAINER: [&str; 4] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Every variable of an instance, reserved names winning over the tenant's; but the
/// endpoints and the size of thread pools are the tenant's to say otherwise.
///
/// A version with SnapStart asks for its session, as on AWS, and has none in its environment: what
/// its init is told stays in its image. One that names a provider of its own has no other than these.
///
/// One that is to be carried in a start image has pools of one, that is: no thread beside the
/// first, since threads are not carried.
pub(crate) fn of_instance(
    revision: &Revision,
    log: &InstanceLog,
    key: &SessionKey,
    phase: Phase,
) -> Vec<(String, String)> {
    // Sized by processors, a library would start a thread for each of the machine's.
    let threads = processors(revision.spec.memory).to_string();
    let mut env = Variables::from([
        ("AWS_ENDPOINT_URL", format!("http://{PLATFORM_ADDRESS}")),
        (THREADS[0], threads),
    ]);
    let has_endpoint = !names_its_own_provider(revision);
    if has_endpoint {
        env.extend(of_endpoint(key));
    }
    env.extend(of_tenant(revision));
    if phase == Phase::Snapshot {
        for name in THREADS {
            if let Some(value) = env.get_mut(name) {
                "1".clone_into(value);
            }
        }
    }
    env.extend(of_function(revision, log));
    env.extend([
        ("AWS_LAMBDA_RUNTIME_API", RUNTIME_API_ADDRESS.to_owned()),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".to_owned()),
        ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000".to_owned()),
        ("_AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1".to_owned()),
        ("_AWS_XRAY_DAEMON_PORT", "2000".to_owned()),
    ]);
    if !(revision.is_snap_start() && has_endpoint) {
        env.extend([
            ("AWS_ACCESS_KEY_ID", key.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", key.secret.clone()),
            ("AWS_SESSION_TOKEN", key.session_token.clone()),
        ]);
    }
    named(env)
}

/// The same for an instance inside the server, which reaches neither endpoint nor network and has
/// no credentials to leak.
pub(crate) fn of_instance_in_process(
    revision: &Revision,
    log: &InstanceLog,
) -> Vec<(String, String)> {
    let mut env = Variables::new();
    env.extend(of_tenant(revision));
    env.extend(of_function(revision, log));
    named(env)
}

/// Where an SDK looks for credentials that it finds in no other place, and with what it asks.
/// Source: AWS SDKs and tools reference, "Container credential provider".
fn of_endpoint(key: &SessionKey) -> [(&'static str, String); 2] {
    let uri = format!("http://{PLATFORM_ADDRESS}{CREDENTIALS_PATH}");
    let token = key.endpoint_token.clone();
    [(CONTAINER[0], uri), (CONTAINER[1], token)]
}

/// A token of ours would go to an address that is not ours, or another one to ours.
fn names_its_own_provider(revision: &Revision) -> bool {
    let is_there = |name: &&str| revision.variables.contains_key(*name);
    CONTAINER.iter().any(is_there)
}

fn of_tenant(revision: &Revision) -> impl Iterator<Item = (&str, String)> {
    let variables = revision.variables.iter();
    variables.map(|(name, value)| (name.as_str(), value.clone()))
}

/// What says which function it is, and how its log is written.
fn of_function<'a>(revision: &'a Revision, log: &InstanceLog) -> Variables<'a> {
    let (function, spec) = (&revision.function, &revision.spec);
    let mut env = Variables::from([
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.to_string()),
        ("AWS_LAMBDA_FUNCTION_VERSION", revision.executed.to_string()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec.memory.0.to_string()),
        (
            "AWS_LAMBDA_LOG_GROUP_NAME",
            log.stream().group.group.clone(),
        ),
        ("AWS_LAMBDA_LOG_STREAM_NAME", log.stream().stream.clone()),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            revision.initialization_type().to_owned(),
        ),
        ("AWS_REGION", function.region.to_string()),
        ("AWS_DEFAULT_REGION", function.region.to_string()),
    ]);
    if let Some(handler) = &spec.handler {
        env.insert("_HANDLER", handler.clone());
    }
    if spec.logging.json {
        env.insert("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned());
        let level = spec.logging.application_level.clone();
        env.insert(
            "AWS_LAMBDA_LOG_LEVEL",
            level.unwrap_or_else(|| "INFO".to_owned()),
        );
    }
    env
}

fn named(env: Variables<'_>) -> Vec<(String, String)> {
    env.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Names and beginnings of names that runtimes, the loader and the libc read once, as a process
/// begins: to one that runs already they say nothing.
const AT_EXECUTION: [&str; 20] = [
    "PYTHON",
    "LD_",
    "NODE_",
    "JAVA_",
    "JDK_",
    "_JAVA_OPTIONS",
    "CLASSPATH",
    "TZ",
    "LANG",
    "LC_",
    "LOCPATH",
    "MALLOC_",
    "GLIBC_TUNABLES",
    "GCONV_PATH",
    "AWS_LAMBDA_EXEC_WRAPPER",
    "OPENSSL_",
    "SSL_CERT_",
    "UV_",
    "NPM_CONFIG_",
    "PATH",
];

/// Whether a tenant's variables mean something to a runtime's own start.
pub(crate) fn is_for_execution(variables: &BTreeMap<String, String>) -> bool {
    let at_execution = |name: &String| AT_EXECUTION.iter().any(|begins| name.starts_with(begins));
    variables.keys().any(at_execution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_at_execution_is_known_by_name() {
        let check = |name: &str, expected| {
            let variables = BTreeMap::from([(name.to_owned(), String::new())]);
            assert_eq!(is_for_execution(&variables), expected, "{name}");
        };
        for name in [
            "PYTHONPATH",
            "LD_PRELOAD",
            "NODE_OPTIONS",
            "JAVA_TOOL_OPTIONS",
            "_JAVA_OPTIONS",
            "TZ",
            "LANG",
            "LC_ALL",
            "MALLOC_ARENA_MAX",
            "AWS_LAMBDA_EXEC_WRAPPER",
            "OPENSSL_CONF",
            "SSL_CERT_FILE",
            "PATH",
        ] {
            check(name, true);
        }
        for name in [
            "TABLE",
            "MY_PYTHON",
            "STAGE",
            "LOG_LEVEL",
            "AWS_LAMBDA_LOG_LEVEL",
        ] {
            check(name, false);
        }
    }
}
