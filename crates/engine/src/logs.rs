//! The log of one instance: what it prints, what the platform says about it, in order.
//!
//! Lines are read from the instance's pipes on its core, tagged with the request that runs, and
//! kept up to the kill. Nothing is dropped silently: lines that came = lines stored + lines
//! counted lost, and a line of the platform says how many were lost. A line over the limit is cut
//! and stays one line. What a function prints can never pass for a line of the platform: the kind
//! is the platform's to set.

mod pipe;
mod platform;
mod splitter;
mod stamp;
mod throttle;

pub(crate) use platform::{CameUp, PlatformEvent, Status};
pub(crate) use stamp::iso8601;

use crate::{node::Node, route::Revision, stats::Counters};
use bytes::Bytes;
use freehold_domain::{
    ids::{CoreId, InstanceId, InvocationId},
    logs::{LineKind, LogLine, LogStreamName},
    ports::{Clock, GuestOutput, GuestStream, LogStore},
    record::LoggingV1,
    tenants::TenantTable,
};
use parking_lot::Mutex;
use pipe::{Pipe, ReadTo};
use splitter::{Line, Splitter};
use std::{
    os::fd::OwnedFd,
    sync::{Arc, Weak, atomic::AtomicBool, atomic::Ordering},
};
use throttle::Throttle;
use tokio::task::AbortHandle;

/// Lines that are held back at the most before they are written.
const PENDING_LINES: usize = 256;
/// Bytes that are held back at the most before they are written.
const PENDING_BYTES: usize = 256 << 10;
/// What the caller of a synchronous invocation may ask to see. Source: Invoke, `LogType=Tail`.
const TAIL_BYTES: usize = 4 << 10;

/// See the module.
pub(crate) struct InstanceLog {
    stream: LogStreamName,
    format: LoggingV1,
    store: Arc<dyn LogStore>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    tenants: Arc<TenantTable>,
    line_bytes: usize,
    state: Mutex<State>,
    pipes: Mutex<Vec<(Arc<Pipe>, AbortHandle)>>,
    /// Lines that an instance inside the server has begun, stdout's and stderr's.
    begun: Mutex<[Splitter; 2]>,
    closed: AtomicBool,
}

struct State {
    pending: Vec<LogLine>,
    pending_bytes: usize,
    running: Vec<InvocationId>,
    tails: Vec<(InvocationId, Vec<u8>)>,
    throttle: Throttle,
}

impl InstanceLog {
    /// A new stream for an instance, named as Lambda names them.
    pub(crate) fn new(node: &Node, revision: &Revision, instance: InstanceId) -> Arc<Self> {
        let (parts, limits) = (&node.parts, node.parts.limits.now());
        let day = &iso8601(parts.clock.wall())[..10];
        let version = &revision.executed;
        let name = format!(
            "{}/[{version}]{}",
            day.replace('-', "/"),
            instance.0.simple()
        );
        Arc::new(Self {
            stream: LogStreamName {
                group: revision.log_group.clone(),
                stream: name,
            },
            format: revision.spec.logging.clone(),
            store: parts.logs.clone(),
            clock: parts.clock.clone(),
            counters: node.counters.clone(),
            tenants: parts.tenants.clone(),
            line_bytes: limits.log_line_bytes as usize,
            state: Mutex::new(State {
                pending: Vec::new(),
                pending_bytes: 0,
                running: Vec::new(),
                tails: Vec::new(),
                throttle: Throttle::new(limits.log_bytes_per_s, parts.clock.now()),
            }),
            pipes: Mutex::default(),
            begun: Mutex::new([(); 2].map(|()| Splitter::new(limits.log_line_bytes as usize))),
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) fn stream(&self) -> &LogStreamName {
        &self.stream
    }

    /// Reads these pipes from now on, on the instance's core; those of an earlier attempt have
    /// ended.
    pub(crate) fn attach(
        self: &Arc<Self>,
        node: &Arc<Node>,
        core: CoreId,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> std::io::Result<()> {
        let mut pipes = self.pipes.lock();
        for (_, task) in pipes.drain(..) {
            task.abort();
        }
        for fd in [stdout, stderr] {
            let pipe = Arc::new(Pipe::new(fd, self.line_bytes)?);
            let reading = read_on(Arc::downgrade(self), pipe.clone());
            let task = node.spawn_on(core, reading);
            pipes.push((pipe, task.abort_handle()));
        }
        Ok(())
    }

    /// An invocation begins: lines are its own from here on.
    pub(crate) fn begin(&self, id: InvocationId, wants_tail: bool) {
        let mut state = self.state.lock();
        state.running.push(id);
        if wants_tail {
            state.tails.push((id, Vec::new()));
        }
    }

    /// An invocation is over; the last of its log, where it was asked for.
    pub(crate) fn end(&self, id: InvocationId) -> Option<Bytes> {
        let mut state = self.state.lock();
        state.running.retain(|running| *running != id);
        let at = state.tails.iter().position(|(of, _)| *of == id)?;
        let tail = state.tails.swap_remove(at).1;
        let from = tail.len().saturating_sub(TAIL_BYTES);
        Some(Bytes::from(tail).slice(from..))
    }

    /// Writes a line of the platform, where the function's format and level ask for it.
    pub(crate) fn platform(&self, event: &PlatformEvent<'_>) {
        let at = self.clock.wall();
        if let Some(text) = event.line(&self.format, at) {
            let invocation = event.invocation();
            let kind = LineKind::Platform;
            let text = Bytes::from(text);
            let line = LogLine {
                at,
                kind,
                invocation,
                text,
                truncated: false,
            };
            self.state.lock().push(line);
        }
    }

    /// Reads what the instance has written so far, a last line without its line feed included, so
    /// that what comes next stands behind it.
    pub(crate) fn catch_up(&self) {
        self.read_pipes(ReadTo::Empty);
    }

    /// The same after the instance's end: everything, once nobody writes any more.
    pub(crate) fn read_to_end(&self) {
        self.read_pipes(ReadTo::End);
        self.flush();
    }

    fn read_pipes(&self, to: ReadTo) {
        for splitter in &mut *self.begun.lock() {
            splitter.finish(&mut |line| self.take(line));
        }
        let pipes: Vec<_> = self
            .pipes
            .lock()
            .iter()
            .map(|(pipe, _)| pipe.clone())
            .collect();
        for pipe in pipes {
            pipe.read(to, |line| self.take(line));
        }
        self.say_what_was_lost();
    }

    fn say_what_was_lost(&self) {
        let lost = self.state.lock().throttle.take_lost();
        if let Some(lost) = lost {
            self.platform(&PlatformEvent::Lost { lost });
        }
    }

    /// One line of the function.
    fn take(&self, line: Line) {
        if !platform::passes(&self.format, &line.text) {
            return;
        }
        let mut state = self.state.lock();
        self.counters.log_line();
        let (now, bytes) = (self.clock.now(), line.text.len() + 1);
        let tenant = &self.stream.group.tenant;
        // The instance's own rate first: what that drops takes nothing from the tenant's others.
        if !state.throttle.lets(now, bytes) {
            self.counters.log_lines_lost(1);
            return;
        }
        if !self.tenants.keeps_line(tenant, now, bytes as u64) {
            state.throttle.count_lost(1, bytes as u64 - 1);
            self.counters.log_lines_lost(1);
            return;
        }
        let invocation = match state.running.as_slice() {
            [one] => Some(*one),
            _ => None,
        };
        let (at, kind) = (self.clock.wall(), LineKind::Function);
        let Line { text, truncated } = line;
        state.push(LogLine {
            at,
            kind,
            invocation,
            text,
            truncated,
        });
        if state.pending.len() >= PENDING_LINES || state.pending_bytes >= PENDING_BYTES {
            self.write(&mut state);
        }
    }

    /// Writes what was held back, with one write.
    pub(crate) fn flush(&self) {
        self.write(&mut self.state.lock());
    }

    fn write(&self, state: &mut State) {
        if state.pending.is_empty() {
            return;
        }
        if let Err(error) = self.store.append(&self.stream, &state.pending) {
            let functions = |line: &&LogLine| line.kind == LineKind::Function;
            let lost = state.pending.iter().filter(functions).count();
            let bytes = state.pending_bytes;
            self.counters.log_lines_lost(lost as u64);
            state.throttle.count_lost(lost as u64, bytes as u64);
            tracing::warn!(stream = %self.stream.stream, %error, lost, "log lines were lost");
        }
        state.pending.clear();
        state.pending_bytes = 0;
    }

    /// No more lines come.
    pub(crate) fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        for (_, task) in self.pipes.lock().drain(..) {
            task.abort();
        }
        self.flush();
        self.store.close(&self.stream);
    }
}

/// Lines of an instance inside the server come without a pipe.
impl GuestOutput for InstanceLog {
    fn write(&self, stream: GuestStream, bytes: &[u8]) {
        let at = usize::from(stream == GuestStream::Stderr);
        self.begun.lock()[at].feed(bytes, &mut |line| self.take(line));
    }
}

impl Drop for InstanceLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn push(&mut self, line: LogLine) {
        self.pending_bytes += line.text.len();
        for (id, tail) in &mut self.tails {
            if line.invocation == Some(*id) {
                tail.extend_from_slice(&line.text);
                tail.push(b'\n');
                if tail.len() > 4 * TAIL_BYTES {
                    tail.drain(..tail.len() - TAIL_BYTES);
                }
            }
        }
        self.pending.push(line);
    }
}

/// Reads a pipe whenever it has something, until it ends.
async fn read_on(log: Weak<InstanceLog>, pipe: Arc<Pipe>) {
    loop {
        let strong = std::sync::OnceLock::new();
        let take = |line| {
            // Held while reading, not while waiting: the wait must not keep the log open.
            if let Some(log) = strong.get_or_init(|| log.upgrade()) {
                log.take(line);
            }
        };
        let open = pipe.read_when_ready(take).await;
        let Some(log) = log.upgrade() else {
            return;
        };
        log.say_what_was_lost();
        log.flush();
        if !open {
            return;
        }
        tokio::task::yield_now().await;
    }
}
