//! Starts that came to nothing before the function's code was heard.

use super::{Attempt, InitFailure, InitFailureKind, LaunchFailed, Phase, internal};
use crate::{logs::PlatformEvent, route::Revision};
use freehold_domain::{
    outcome::InvokeError,
    ports::{InstanceUsage, StartError},
    runtime::RuntimeFamily,
};
use std::time::Duration;

/// The package has no program that could be run.
pub(super) fn no_program(
    revision: &Revision,
    phase: Phase,
    start: Duration,
    attempt: Attempt,
) -> LaunchFailed {
    let failure = InitFailure {
        kind: InitFailureKind::NoProgram,
        start,
        usage: InstanceUsage::default(),
    };
    attempt.log.platform(&PlatformEvent::InitReport {
        revision,
        phase,
        took: Duration::ZERO,
        status: &failure.status(),
    });
    attempt.log.flush();
    LaunchFailed::Init(failure, attempt)
}

/// A sandbox was told to go, and its runtime never ran.
pub(super) fn not_begun(
    revision: &Revision,
    phase: Phase,
    start: Duration,
    error: StartError,
    attempt: Attempt,
) -> LaunchFailed {
    let family = revision.runtime.family;
    let reason = error.to_string();
    match error {
        StartError::Program { .. } if family == RuntimeFamily::Provided => {
            no_program(revision, phase, start, attempt)
        }
        StartError::Image { .. } | StartError::Lost { .. } => LaunchFailed::NotThawed {
            reason,
            is_image: matches!(error, StartError::Image { .. }),
            attempt,
        },
        StartError::SpawnerLost { core } => {
            let reason = format!("spawner {core} died");
            LaunchFailed::Platform(InvokeError::InstanceLost { reason })
        }
        _ => LaunchFailed::Platform(internal("sandbox", &reason)),
    }
}
