//! What can go wrong between this client and a server, each with its remedy.
//!
//! No text here carries a secret: keys are named by their public half at the most.

use std::path::PathBuf;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ClientError {
    /// Neither options nor environment say whom to ask.
    #[error("no server is named, and there is none in {}", data.display())]
    #[diagnostic(help(
        "start one here with `freehold serve`, name its folder with --data DIR, or name another machine's with --endpoint http://HOST:7070 (or AWS_ENDPOINT_URL)"
    ))]
    NoServer {
        /// The data folder that was looked at.
        data: PathBuf,
    },
    /// There is an endpoint, but nothing to sign with.
    #[error("no access key to sign with for {endpoint}")]
    #[diagnostic(help(
        "run `eval \"$(freehold env)\"` on the server's machine, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or choose a profile with --profile"
    ))]
    NoKeys {
        /// The endpoint.
        endpoint: String,
    },
    /// A file of the local server is there but cannot be read.
    #[error("could not read {}", path.display())]
    #[diagnostic(help("{remedy}"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A file or setting does not read as what it should be.
    #[error("{what} is not usable: {reason}")]
    #[diagnostic(help("correct it, or give the value as an option; `freehold help` lists them"))]
    Setting {
        /// A file or a variable.
        what: String,
        /// What is wrong, without the value where it may be a secret.
        reason: String,
    },
    /// The profile is in neither file.
    #[error("there is no profile {name:?}")]
    #[diagnostic(help("profiles are read from ~/.aws/credentials and ~/.aws/config"))]
    NoProfile {
        /// Its name.
        name: String,
    },
    /// Nothing answered.
    #[error("{endpoint} cannot be reached: {reason}")]
    #[diagnostic(help(
        "is the server running? Start it with `freehold serve`, or name it with --endpoint URL"
    ))]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// The cause.
        reason: String,
    },
    /// Something answered, but not as the API does.
    #[error("{endpoint} answered {operation} with something that is not its API: {reason}")]
    #[diagnostic(help("does this address belong to Freehold? The admin address (7071) is not it"))]
    Garbled {
        /// The endpoint.
        endpoint: String,
        /// The operation.
        operation: &'static str,
        /// What was found.
        reason: String,
    },
    /// The server refused, in AWS's words.
    #[error("{operation} was refused ({code}): {message}")]
    Service {
        /// The operation.
        operation: &'static str,
        /// HTTP status.
        status: u16,
        /// AWS's name of the error.
        code: String,
        /// AWS's text.
        message: String,
        /// What to do about it, where that is known.
        #[help]
        help: Option<&'static str>,
    },
}

impl ClientError {
    /// Whether the server said that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Service { status: 404, .. })
            || matches!(self, Self::Service { code, .. } if code == "ResourceNotFoundException")
    }

    /// Whether the thing is there already, or busy.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Service { status: 409, .. })
    }

    /// An error answer, read. Both spellings of the message occur, by the error's shape.
    pub fn from_answer(
        operation: &'static str,
        status: u16,
        code_header: Option<&str>,
        body: &[u8],
    ) -> Self {
        let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| value.get(name).and_then(|v| v.as_str());
        let code = code_header
            .or_else(|| text("__type"))
            .or_else(|| text("Code"))
            .map(|code| {
                let code = code.split(':').next().unwrap_or(code);
                code.rsplit('#').next().unwrap_or(code).to_owned()
            })
            .unwrap_or_else(|| format!("HTTP {status}"));
        let message = text("message")
            .or_else(|| text("Message"))
            .map(str::to_owned)
            .unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(200).collect());
        let help = help(
            operation,
            &code,
            text("Reason").unwrap_or_default(),
            &message,
        );
        Self::Service {
            operation,
            status,
            code,
            message,
            help,
        }
    }
}

/// What to do about an error; `message` is the server's, in whose words some are told apart.
fn help(operation: &str, code: &str, reason: &str, message: &str) -> Option<&'static str> {
    match reason {
        "BudgetExceeded" => {
            return Some(
                "`freehold budgets list` shows when its period is over; the node's operator raises it",
            );
        }
        "BudgetStopped" => {
            return Some(
                "`freehold budgets list` shows it; the node's operator raises or removes it",
            );
        }
        _ => {}
    }
    Some(match code {
        "ResourceNotFoundException" if message.starts_with("Tenant ") => {
            "`freehold tenants list` lists the accounts of this node"
        }
        "ResourceNotFoundException" if message.starts_with("AccessKey ") => {
            "`freehold keys list` lists the keys of an account"
        }
        "ResourceNotFoundException" if message.starts_with("Budget ") => {
            "`freehold budgets list` lists the budgets of an account"
        }
        "ResourceNotFoundException" => "`freehold ls` lists the functions of this server",
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            "the secret key or this machine's clock is wrong: run `eval \"$(freehold env)\"` again"
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" => {
            "the server does not know this key, or it is disabled: run `eval \"$(freehold env)\"` on its machine, or ask the node's operator for another"
        }
        "AccessDeniedException" if message.contains("operator") => {
            "sign with the root key of the node's operator, the account of its first start: `eval \"$(freehold env)\"` on the server's machine has it"
        }
        "AccessDeniedException" => "this key may not do that; use the root key of the tenant",
        "TooManyRequestsException" => {
            "a limit of the account is reached: of calls in a second, or of what runs at a time; try again, or have the node's operator raise it"
        }
        "ResourceConflictException" => "another change is under way; try again when it is done",
        "RequestEntityTooLargeException"
        | "RequestTooLargeException"
        | "CodeStorageExceededException" => match operation {
            "Invoke" => {
                "send less at once; a limit of the node is raised in freehold.toml of the server, one of the account's own by the node's operator with `freehold tenants limits`"
            }
            _ => {
                "leave out what the function does not need (.freeholdignore); a limit of the node is raised in freehold.toml of the server, one of the account's own by the node's operator with `freehold tenants limits`"
            }
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_and_both_places_of_an_error_are_read() {
        let check = |header: Option<&str>, body: &str, code: &str, message: &str| {
            let ClientError::Service {
                code: c,
                message: m,
                ..
            } = ClientError::from_answer("Invoke", 400, header, body.as_bytes())
            else {
                panic!("a service error");
            };
            assert_eq!((c.as_str(), m.as_str()), (code, message));
        };
        check(Some("A:http://x"), r#"{"Message":"m"}"#, "A", "m");
        check(
            None,
            r#"{"__type":"com.amazonaws#B","message":"m"}"#,
            "B",
            "m",
        );
        check(None, "<html>", "HTTP 400", "<html>");
    }

    #[test]
    fn what_to_do_is_said_of_what_was_asked_for() {
        let check = |operation: &str, code: &str, message: &str, says: &str| {
            let said = help(operation, code, "", message).unwrap_or_default();
            assert!(said.contains(says), "{code} {message}: {said}");
        };
        let none = "ResourceNotFoundException";
        check("GetTenant", none, "Tenant not found: 1", "tenants list");
        check("RotateKey", none, "AccessKey not found: A", "keys list");
        check("SetBudget", none, "Budget not found: b", "budgets list");
        check("Invoke", none, "Function not found: arn", "`freehold ls`");
        let denied = "AccessDeniedException";
        let only = "Only the root key of the node's operator may do that.";
        check("CreateTenant", denied, only, "of the node's operator");
        check("Invoke", denied, "", "root key of the tenant");
        let large = "RequestTooLargeException";
        check("Invoke", large, "", "send less");
        for operation in ["Invoke", "CreateFunction"] {
            check(operation, large, "", "freehold tenants limits");
            check(operation, large, "", "freehold.toml");
        }
    }
}
