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
        let help = help(&code, text("Reason").unwrap_or_default());
        Self::Service {
            operation,
            status,
            code,
            message,
            help,
        }
    }
}

fn help(code: &str, reason: &str) -> Option<&'static str> {
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
        "ResourceNotFoundException" => "`freehold ls` lists the functions of this server",
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            "the secret key or this machine's clock is wrong: run `eval \"$(freehold env)\"` again"
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" => {
            "the server does not know this key, or it is disabled: run `eval \"$(freehold env)\"` on its machine, or ask the node's operator for another"
        }
        "AccessDeniedException" => "this key may not do that; use the root key of the tenant",
        "TooManyRequestsException" => {
            "a limit of the account is reached: of calls in a second, or of what runs at a time; try again, or have the node's operator raise it"
        }
        "ResourceConflictException" => "another change is under way; try again when it is done",
        "RequestEntityTooLargeException" | "RequestTooLargeException" => {
            "leave out what the function does not need (.freeholdignore), or raise the limit in freehold.toml of the server"
        }
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
}
