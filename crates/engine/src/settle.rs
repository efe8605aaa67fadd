//! What an invocation cost, written down once, before anybody hears of its end.
//!
//! Order: the log's last lines, the ledger's entry with what it takes of budgets, the slot, the
//! answer. An entry that cannot be written keeps its answer back: what was not recorded was not done.

use crate::{
    exchange::{Answer, Finished},
    logs::{CameUp, PlatformEvent},
    node::Node,
};
use freehold_domain::{
    body::Body,
    budgets::Settling,
    ids::CoreId,
    ledger::LedgerEntry,
    outcome::{InvokeError, Outcome, OutcomeHead, Trailer, Usage},
    record::UsagePartV1,
};
use std::time::Duration;

/// Settles an invocation.
///
/// Errors: what the platform did wrong; [`InvokeError::NotRecorded`] when the ledger cannot
/// be written.
pub(crate) fn settle(
    node: &Node,
    core: CoreId,
    finished: Finished,
) -> Result<Outcome, InvokeError> {
    let usage = usage_of(&finished);
    let Finished {
        admitted,
        log,
        lease,
        ending,
        status,
        answer,
        instance,
        came_up,
        waited,
        ..
    } = finished;
    let (invocation, revision) = (&admitted.invocation, &admitted.revision);
    let (id, memory) = (invocation.id, revision.spec.memory);

    log.platform(&PlatformEvent::End { id });
    let (usage_, status) = (&usage, &status);
    log.platform(&PlatformEvent::Report {
        id,
        usage: usage_,
        memory,
        status,
        came_up,
    });
    log.flush();
    let log_tail = log.end(id);

    let entry = LedgerEntry {
        id,
        function: invocation.function.clone(),
        revision: revision.executed.clone(),
        runtime: revision.runtime.digest,
        instance,
        attempt: invocation.attempt,
        source: invocation.source.clone(),
        trace: invocation.trace.clone(),
        received: admitted.received,
        memory_mib: memory.0,
        usage,
        ending,
        tags: None,
    };
    let (ledger, tags) = (&*node.parts.ledger, admitted.tags.as_deref());
    let settling = Settling {
        function: &invocation.function,
        attempt: (id, invocation.attempt),
        received: admitted.received,
        part: UsagePartV1::of(&usage, memory.0),
        clock: &*node.parts.clock,
    };
    let to_json = |tags| LedgerEntry { tags, ..entry }.to_json();
    let append = || node.tags.append(ledger, core, tags, to_json);
    let written = node.parts.budgets.settle(core.0, &settling, append);
    let is_restored = waited && came_up == CameUp::Restored;
    node.counters.settled(ending, &usage, waited, is_restored);
    if lease.is_none() {
        log.close();
    }
    drop(lease);
    if let Err(error) = written {
        tracing::error!(%id, %error, "an invocation is not on the ledger");
        let reason = error.to_string();
        return Err(InvokeError::NotRecorded { reason });
    }
    let executed = revision.executed.clone();
    drop(admitted);
    let Answer {
        kind,
        content_type,
        body,
        room,
    } = answer?;
    Ok(Outcome {
        head: OutcomeHead {
            kind,
            executed,
            content_type,
            log_tail,
        },
        body: Body::full_with_trailer(
            body,
            Trailer {
                usage,
                late_error: None,
            },
        ),
        room,
    })
}

/// Init is billed with the run, as Lambda does for every package since August 2025, and so is what
/// follows a restore; time in the queue, in making the sandbox and in thawing never is.
fn usage_of(finished: &Finished) -> Usage {
    let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let billed_init = match finished.came_up {
        CameUp::Not => Duration::ZERO,
        CameUp::Init | CameUp::Restored => finished.init,
    };
    let bytes_out = finished
        .answer
        .as_ref()
        .map_or(0, |answer| answer.body.len() as u64);
    Usage {
        queue_us: us(finished.queue),
        start_us: us(finished.start),
        init_us: us(finished.init),
        run_us: us(finished.run),
        billed_ms: us(billed_init + finished.run).div_ceil(1000),
        cpu_us: finished.cpu_us,
        memory_peak_bytes: finished.memory_peak_bytes,
        bytes_in: finished.admitted.event.len() as u64,
        bytes_out,
    }
}
