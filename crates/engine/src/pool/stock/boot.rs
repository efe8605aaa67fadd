//! Making one booted instance: from a template's image where there is one, else by executing the
//! runtime.

use super::{Preload, ShelfKey};
use crate::{
    node::Node,
    pool::{Booking, memory::BookedImage},
};
use freehold_domain::{
    BoxFuture,
    ids::Mebibytes,
    network::NetworkId,
    ports::{
        Booted, Contract, ExitReport, Instance, InstanceSpec, NetworkIo, OpenError,
        PRELOAD_VARIABLE, Rehearsal, StartError, Wires,
    },
    time::Mono,
};
use futures_util::FutureExt;
use std::{future::ready, os::fd::OwnedFd, sync::Arc, time::Duration};

/// How long a runtime may take to boot.
const BOOT_TIMEOUT: Duration = Duration::from_secs(10);
/// Memory of an instance until it becomes somebody's.
const BOOT_MEMORY: Mebibytes = Mebibytes(512);

/// Where a runtime's launcher finds how much memory there is.
const MEMORY_VARIABLE: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// A booted instance that waits to be told what it is.
pub(crate) struct Spare {
    pub(crate) instance: Arc<dyn Instance>,
    pub(crate) booted: Box<dyn Booted>,
    pub(crate) platform: OwnedFd,
    pub(crate) network: NetworkIo,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// Gives the memory back to whoever books for the instance now.
    pub(crate) booking: Booking,
    /// What it may have open: that is given once, as it is made.
    pub(super) descriptors: u32,
    bytes: u64,
    rehearsed: Rehearsal,
}

/// What one comes from.
pub(super) enum Source {
    /// The runtime's program, told what to import.
    Program(Preload),
    Image(BookedImage),
}

/// Why none was made.
pub(super) enum NotMade {
    /// No memory to spare.
    NoRoom,
    /// The runtime cannot be told later what it is to be.
    Never,
    /// The machine was short of something or busy: it says nothing of what was to be started.
    Passing {
        reason: String,
    },
    Failed {
        reason: String,
    },
}

impl From<StartError> for NotMade {
    fn from(error: StartError) -> Self {
        let reason = error.to_string();
        match error {
            StartError::Exhausted { .. }
            | StartError::Lost { .. }
            | StartError::SpawnerLost { .. }
            | StartError::Deadline => Self::Passing { reason },
            _ => Self::Failed { reason },
        }
    }
}

impl Spare {
    /// Whether it ended while it waited.
    pub(super) fn has_ended(&self) -> bool {
        self.instance.exited().now_or_never().is_some()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is more that it could rehearse.
    pub(super) fn is_brief(&self) -> bool {
        self.rehearsed == Rehearsal::Brief
    }

    /// What was left out as it was made, since nobody is in a hurry any more. `false` when it cannot be
    /// used after that.
    pub(super) async fn rehearse_rest(&mut self, node: &Arc<Node>) -> bool {
        let deadline = node.parts.clock.now() + BOOT_TIMEOUT;
        let rest = async { self.booted.rehearse(Rehearsal::Full).await };
        if within(node, rest, &*self.instance, deadline).await.is_err() {
            return false;
        }
        // Whatever it says: it is not asked a third time.
        self.rehearsed = Rehearsal::Full;
        self.bytes = own_bytes(&*self.instance).await;
        self.booking.adjust(self.bytes);
        true
    }

    pub(super) async fn end(self) {
        self.instance.destroy().await;
    }
}

/// Makes one for a shelf.
pub(super) async fn make(
    node: &Arc<Node>,
    key: ShelfKey,
    contract: &Arc<dyn Contract>,
    expected_bytes: u64,
    rehearsal: Rehearsal,
) -> Result<Spare, NotMade> {
    let of = (key.runtime, Preload::Bare);
    if let Some(image) = node.stock.templates.draw(node, of) {
        let templates = &node.stock.templates;
        let from = Source::Image(image);
        match raise(node, key, contract, expected_bytes, from, rehearsal).await {
            Err(NotMade::Failed { reason }) => {
                let runtime = key.runtime;
                tracing::warn!(
                    runtime,
                    reason,
                    "a runtime's start image did not come to life"
                );
                templates.went(node, of, false);
            }
            Err(NotMade::Passing { .. }) => {}
            Ok(spare) => {
                templates.went(node, of, true);
                return Ok(spare);
            }
            not_made => return not_made,
        }
    }
    let plainly = Source::Program(Preload::Bare);
    raise(node, key, contract, expected_bytes, plainly, rehearsal).await
}

/// Boots one, or thaws it.
pub(super) async fn raise(
    node: &Arc<Node>,
    key: ShelfKey,
    contract: &Arc<dyn Contract>,
    expected_bytes: u64,
    from: Source,
    rehearsal: Rehearsal,
) -> Result<Spare, NotMade> {
    let booking = node.memory.book_spare(node, expected_bytes);
    let booking = booking.ok_or(NotMade::NoRoom)?;
    let parts = &node.parts;
    let memory = key.memory.unwrap_or(BOOT_MEMORY);
    let (image, preload) = match from {
        Source::Program(preload) => (None, preload.variable()),
        Source::Image(BookedImage { image, memory }) => {
            booking.lives_from(Some(memory));
            (Some(image), None)
        }
    };
    let is_thawed = image.is_some();
    // A launcher sizes the heap by it as it executes the runtime.
    let memory_told = key
        .memory
        .map(|memory| (MEMORY_VARIABLE, memory.0.to_string()));
    let preload_told = preload.map(|preload| (PRELOAD_VARIABLE, preload.to_owned()));
    let limits = parts.limits.now();
    let spec = InstanceSpec {
        instance: parts.ids.instance(),
        core: key.core,
        runtime: key.runtime,
        package: None,
        image,
        args: Vec::new(),
        env: memory_told
            .into_iter()
            .chain(preload_told)
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        memory,
        tmp: Mebibytes(limits.tmp_min_mib),
        pids: limits.instance_pids,
        descriptors: limits.instance_descriptors,
        cpu: parts.config.now().cpu.share(memory),
        network: NetworkId::NONE,
    };
    let deadline = parts.clock.now() + BOOT_TIMEOUT;
    let failed = |reason: String| NotMade::Failed { reason };
    let instance = tokio::select! {
        started = parts.driver.start(spec, deadline) => {
            started.map_err(NotMade::from)?
        }
        () = node.stopped() => return Err(NotMade::NoRoom),
    };
    let Some(io) = instance.take_io() else {
        return Err(failed("an instance came without IO".to_owned()));
    };
    let wires = Wires {
        runtime_api: io.runtime_api,
        frames: io.frames,
    };
    let booting: Option<BoxFuture<'_, Result<Box<dyn Booted>, OpenError>>> = if is_thawed {
        let booted = contract.thawed(wires);
        booted.map(|booted| Box::pin(ready(Ok(booted))) as _)
    } else {
        contract.boot(wires)
    };
    let booted = match booting {
        Some(booting) => {
            let rehearsed = async {
                let booted = booting.await?;
                let gone_through = booted.rehearse(rehearsal).await?;
                Ok((booted, gone_through))
            };
            within(node, rehearsed, &*instance, deadline).await
        }
        None => Err(NotMade::Never),
    };
    let (booted, rehearsed) = match booted {
        Ok(booted) => booted,
        Err(error) => {
            instance.destroy().await;
            return Err(error);
        }
    };
    let bytes = own_bytes(&*instance).await;
    booking.adjust(bytes);
    Ok(Spare {
        instance,
        booted,
        platform: io.platform,
        network: io.network,
        stdout: io.stdout,
        stderr: io.stderr,
        booking,
        descriptors: limits.instance_descriptors,
        bytes,
        rehearsed,
    })
}

async fn own_bytes(instance: &dyn Instance) -> u64 {
    let usage = instance.usage().await.unwrap_or_default();
    let own = usage.memory_bytes.saturating_sub(usage.shared_bytes);
    own.max(1 << 20)
}

/// Waits for what a runtime is asked to do, for as long as it runs and there is time.
async fn within<T>(
    node: &Arc<Node>,
    asked: impl Future<Output = Result<T, OpenError>>,
    instance: &dyn Instance,
    deadline: Mono,
) -> Result<T, NotMade> {
    let failed = |reason: String| Err(NotMade::Failed { reason });
    tokio::select! {
        biased;
        done = asked => match done {
            Ok(done) => Ok(done),
            Err(error) => failed(error.to_string()),
        },
        report = instance.exited() => {
            let ExitReport { cause, .. } = report;
            failed(format!("it ended as it booted: {cause:?}"))
        }
        () = node.parts.clock.sleep_until(deadline) => failed("it did not boot in time".to_owned()),
        () = node.stopped() => Err(NotMade::NoRoom),
    }
}
