//! How a command ends badly: what failed, why, what to do, and the exit code.

use super::{EXIT_FUNCTION, EXIT_NOT_FOUND, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE};
use crate::client::ClientError;
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::{io, path::PathBuf, process::ExitCode};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Failure {
    /// The server or the way to it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Client(#[from] ClientError),
    /// An option or a file of the user does not say what it must.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        #[help]
        remedy: String,
    },
    /// A tool that builds the function failed.
    #[error("{command} failed ({status})\n{output}")]
    Build {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines that it wrote.
        output: String,
        /// What to do.
        #[help]
        remedy: String,
    },
    /// The function was taken, but did not become ready.
    #[error("{name} is {state}: {reason}")]
    #[diagnostic(help(
        "`freehold describe {name}` shows its state, `freehold logs {name}` what it wrote"
    ))]
    NotReady {
        /// The function.
        name: String,
        /// Its state.
        state: String,
        /// The server's reason.
        reason: String,
    },
    /// It was understood, and cannot be done as things are.
    #[error("{what}")]
    Refused {
        /// What is in the way.
        what: String,
        /// What to do.
        #[help]
        remedy: String,
    },
    /// A local file.
    #[error("could not {what} {}", path.display())]
    File {
        /// A verb.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Stdout.
    #[error("could not write the output")]
    Output(#[source] io::Error),
}

impl Failure {
    /// A usage failure with its remedy.
    pub fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// A refusal with its remedy.
    pub fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// The exit code that stands for it.
    pub fn code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Service { status, .. }) if *status >= 500 => EXIT_UNREACHABLE,
            Self::Client(error) if error.is_not_found() => EXIT_NOT_FOUND,
            Self::Client(ClientError::Service { .. }) => EXIT_REFUSED,
            Self::Client(
                ClientError::Unreachable { .. }
                | ClientError::NoServer { .. }
                | ClientError::Garbled { .. },
            ) => EXIT_UNREACHABLE,
            Self::Client(ClientError::Unreadable { .. }) => EXIT_REFUSED,
            Self::Client(_) | Self::Usage { .. } | Self::File { .. } => EXIT_USAGE,
            Self::Build { .. } | Self::NotReady { .. } => EXIT_FUNCTION,
            Self::Refused { .. } | Self::Output(_) => EXIT_REFUSED,
        }
    }

    /// Says it on stderr, once, and gives the exit code.
    pub fn report(self) -> ExitCode {
        if let Self::Output(error) = &self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        let theme = if super::progress() {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::none()
        };
        let mut text = String::new();
        let drawn = GraphicalReportHandler::new_themed(theme).render_report(&mut text, &self);
        match drawn {
            Ok(()) => eprintln!("{}", text.trim_end()),
            Err(_) => eprintln!("freehold: {self}"),
        }
        ExitCode::from(self.code())
    }
}
