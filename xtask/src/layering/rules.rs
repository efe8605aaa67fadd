//! The rules about sources: which words may stand where.
//!
//! Each rule is a row: the words, the reading of the file, the paths that may say them, and why.
//! Adding a path to a row is a decision; say the reason beside it.

use super::{
    Finding,
    source::{Source, lines_with_word},
};

/// Which reading of a file a rule looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Neither comments nor strings.
    Code,
    /// Strings too: a wire name in a string leaks as well as one in code.
    CodeAndStrings,
}

/// Words that only some paths may say.
struct Rule {
    name: &'static str,
    words: &'static [&'static str],
    reading: Reading,
    /// Prefixes of paths that may.
    allowed: &'static [&'static str],
    /// Whether code behind `#[cfg(test)]`, `tests/`, `benches/` and `examples/` may too.
    tests_may: bool,
    because: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        name: "unsafe",
        words: &["unsafe"],
        reading: Reading::Code,
        allowed: &[
            "crates/sandbox/src/sys/",
            "crates/sandbox/src/sys.rs",
            // Verified machine code into the WebAssembly runtime: an edge that explains itself.
            "crates/wasm/src/code/load.rs",
        ],
        tests_may: false,
        because: "`unsafe` stays behind the safe functions of crates/sandbox/src/sys",
    },
    Rule {
        name: "status-codes",
        words: &["StatusCode"],
        reading: Reading::Code,
        // The CLI is a client: it reads the status of the answers that it gets.
        allowed: &[
            "crates/api/",
            "crates/wire/",
            "crates/contracts/",
            "crates/server/src/cli",
            "crates/server/src/client",
        ],
        tests_may: true,
        because: "HTTP status codes belong to api, wire and the HTTP contracts",
    },
    Rule {
        name: "environment",
        words: &[
            "env::var",
            "env::var_os",
            "env::vars",
            "env::vars_os",
            "env::args",
            "env::args_os",
        ],
        reading: Reading::Code,
        allowed: &["crates/server/", "xtask/"],
        tests_may: true,
        because: "only server reads the environment; hand the value down",
    },
    Rule {
        name: "aws-spellings",
        words: AWS_SPELLINGS,
        reading: Reading::CodeAndStrings,
        // The CLI prints and sends the wire's names; contracts/lambda_runtime speaks the API.
        allowed: &[
            "crates/wire/",
            "crates/api/",
            "crates/contracts/",
            "crates/server/",
            "xtask/",
        ],
        tests_may: true,
        because: "AWS spellings stop at wire, api and contracts/lambda_runtime",
    },
    Rule {
        name: "unfinished",
        words: &["todo!", "unimplemented!", "dbg!"],
        reading: Reading::Code,
        allowed: &[],
        tests_may: false,
        because: "nothing unfinished is merged",
    },
];

/// Names of the AWS wire that a reader would search for; not those that are words of ours too
/// (`FunctionName` and `Qualifier` are types of the domain, `SnapStart` names a feature; as strings they are
/// the wire's).
const AWS_SPELLINGS: &[&str] = &[
    "FunctionArn",
    "\"FunctionName\"",
    "\"Qualifier\"",
    "CodeSha256",
    "RevisionId",
    "LastUpdateStatus",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
    "StateReasonCode",
    "EphemeralStorage",
    "LoggingConfig",
    "TracingConfig",
    "\"SnapStart\"",
    "InvocationType",
    "ClientContext",
    "FunctionVersion",
    "ReservedConcurrentExecutions",
    "FunctionUrlAuthType",
    "InvokeMode",
    "\"PackageType\"",
    "ResourceNotFoundException",
    "ResourceConflictException",
    "InvalidParameterValueException",
    "TooManyRequestsException",
    "ServiceException",
    "InvalidRuntimeException",
];

/// Longer files are tables or hold a second story.
const LONG_FILE_LINES: usize = 800;

/// Checks one file against every rule.
pub fn check(source: &Source) -> Vec<Finding> {
    RULES
        .iter()
        .flat_map(|rule| check_rule(rule, source))
        .collect()
}

fn check_rule(rule: &Rule, source: &Source) -> Vec<Finding> {
    let path = source.path.as_str();
    if rule.allowed.iter().any(|prefix| path.starts_with(prefix)) {
        return Vec::new();
    }
    if rule.tests_may && is_test_path(path) {
        return Vec::new();
    }
    let text = match rule.reading {
        Reading::Code => &source.code,
        Reading::CodeAndStrings => &source.without_comments,
    };
    let mut findings = Vec::new();
    for word in rule.words {
        for line in lines_with_word(text, word) {
            if rule.tests_may && source.is_test_line[line - 1] {
                continue;
            }
            findings.push(Finding {
                rule: rule.name,
                place: format!("{path}:{line}"),
                text: format!("`{word}`: {}", rule.because),
            });
        }
    }
    findings
}

fn is_test_path(path: &str) -> bool {
    ["/tests/", "/benches/", "/examples/"]
        .iter()
        .any(|part| path.contains(part))
        || path.starts_with("crates/testkit/")
        || path.ends_with("/tests.rs")
        || path.ends_with("/build.rs")
}

/// A note for a file that is longer than a story; generated files are tables.
pub fn long_file(source: &Source) -> Option<String> {
    let lines = source.line_count();
    (lines > LONG_FILE_LINES && !source.path.contains("/generated/"))
        .then(|| format!("{}: {lines} lines", source.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_finds(path: &str, text: &str, rules: &[&str]) {
        let found: Vec<_> = check(&Source::new(path, text))
            .iter()
            .map(|f| f.rule)
            .collect();
        assert_eq!(found, rules, "{path}: {text}");
    }

    #[test]
    fn unsafe_stands_only_in_sys() {
        check_finds(
            "crates/engine/src/pool.rs",
            "fn f() { unsafe { g() } }",
            &["unsafe"],
        );
        check_finds(
            "crates/sandbox/src/spawner.rs",
            "unsafe fn f() {}",
            &["unsafe"],
        );
        check_finds("crates/sandbox/tests/a.rs", "unsafe fn f() {}", &["unsafe"]);
        check_finds("crates/sandbox/src/sys/fork.rs", "unsafe fn f() {}", &[]);
        check_finds("crates/wasm/src/code/load.rs", "unsafe fn f() {}", &[]);
        check_finds("crates/wasm/src/code.rs", "unsafe fn f() {}", &["unsafe"]);
        check_finds(
            "crates/engine/src/pool.rs",
            "// unsafe\n#![forbid(unsafe_code)]",
            &[],
        );
    }

    #[test]
    fn status_codes_stand_only_at_the_edge() {
        check_finds(
            "crates/control/src/functions.rs",
            "StatusCode::OK",
            &["status-codes"],
        );
        check_finds(
            "crates/server/src/main.rs",
            "StatusCode::OK",
            &["status-codes"],
        );
        check_finds("crates/server/src/cli/invoke.rs", "StatusCode::OK", &[]);
        check_finds("crates/api/src/lambda.rs", "StatusCode::OK", &[]);
    }

    #[test]
    fn only_server_reads_the_environment() {
        check_finds(
            "crates/sandbox/src/a.rs",
            "std::env::var(\"X\")",
            &["environment"],
        );
        check_finds(
            "crates/catalog/src/a.rs",
            "env::var_os(\"PATH\")",
            &["environment"],
        );
        check_finds("crates/server/src/main.rs", "std::env::args()", &[]);
        check_finds(
            "crates/engine/src/a.rs",
            "env!(\"CARGO_MANIFEST_DIR\")",
            &[],
        );
        check_finds(
            "crates/engine/src/a.rs",
            "#[cfg(test)]\nmod t { fn f() { env::var(a) } }",
            &[],
        );
    }

    #[test]
    fn aws_spellings_stop_at_the_wire() {
        check_finds(
            "crates/control/src/a.rs",
            "struct Q { x: RevisionId }",
            &["aws-spellings"],
        );
        check_finds(
            "crates/domain/src/a.rs",
            "f(\"FunctionArn\")",
            &["aws-spellings"],
        );
        check_finds(
            "crates/domain/src/a.rs",
            "/// `FunctionArn` on the wire\nstruct A;",
            &[],
        );
        check_finds("crates/domain/src/a.rs", "struct Qualifier;", &[]);
        check_finds(
            "crates/domain/src/a.rs",
            "f(\"Qualifier\")",
            &["aws-spellings"],
        );
        check_finds("crates/wire/src/a.rs", "struct FunctionArn;", &[]);
    }

    #[test]
    fn nothing_unfinished_passes() {
        check_finds("crates/api/src/a.rs", "fn f() { todo!() }", &["unfinished"]);
        check_finds(
            "crates/api/src/a.rs",
            "#[cfg(test)]\nmod t { fn f() { unimplemented!() } }",
            &["unfinished"],
        );
        check_finds("crates/api/src/a.rs", "f(\"todo!()\")", &[]);
    }

    #[test]
    fn a_long_file_is_noted_unless_generated() {
        let text = "x\n".repeat(LONG_FILE_LINES + 1);
        assert!(long_file(&Source::new("crates/api/src/a.rs", &text)).is_some());
        assert!(long_file(&Source::new("crates/wire/src/generated/a.rs", &text)).is_none());
        assert!(long_file(&Source::new("crates/api/src/a.rs", "x\n")).is_none());
    }
}
