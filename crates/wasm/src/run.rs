//! One event in one fresh instance, from its store to what came of it.

use crate::{
    code::{Code, Entry},
    command, http,
    limits::SLICE_TICKS,
    output::{AnswerBuffer, Rooms, Sink},
    shares::Taken,
    slices::{Ticker, UsedUp, in_slices},
    state::{Bounds, ComponentState, CoreState, Meter, View},
};
use bytes::Bytes;
use freehold_domain::{
    answers::Room,
    ports::{GuestOutput, GuestStream},
};
use rustix::time::{ClockId, clock_gettime};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};
use wasmtime::{Engine, Store, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// What one event needs; everything that it holds of the node goes with it.
pub(crate) struct Turn {
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) code: Arc<Code>,
    /// What the guest is called by, argv[0].
    pub(crate) name: Arc<str>,
    pub(crate) env: Arc<[(String, String)]>,
    pub(crate) event_env: Vec<(String, String)>,
    pub(crate) event: Bytes,
    pub(crate) memory_bytes: u64,
    pub(crate) answer_bytes: u64,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) output: Arc<dyn GuestOutput>,
    pub(crate) meter: Arc<Meter>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Ended {
    Answer {
        content_type: Option<String>,
        body: Bytes,
        room: Option<Room>,
    },
    /// The function's own failure.
    Failed { error_type: String, message: String },
    /// It asked for more memory than it may have, and did not survive the refusal.
    OutOfMemory,
    /// The node had no memory left for it, and it did not survive that.
    NoRoom,
    /// Its answer crossed the limit.
    TooLarge,
}

impl Ended {
    /// Whether it is an answer with room of its own.
    pub(crate) fn holds_room(&self) -> bool {
        matches!(self, Self::Answer { room: Some(_), .. })
    }

    /// With as much of the room that its answer was read in as that needs.
    pub(crate) fn held_in(mut self, read_in: Option<Room>) -> Self {
        if let Self::Answer { body, room, .. } = &mut self {
            *room = read_in.and_then(|room| room.kept_by(body.len()));
        }
        self
    }
}

/// A guest that is ready to run.
pub(crate) type Guest = Pin<Box<dyn Future<Output = Ended> + Send>>;

impl Turn {
    /// The guest, and whether it has used up its slice. It takes its memory with `memory`, which
    /// has nothing yet; `held` goes with it.
    pub(crate) fn begin(self, memory: Taken, held: impl Send + 'static) -> (Guest, UsedUp) {
        self.ticker.touch();
        let meter = self.meter.clone();
        meter.restart();
        let used_up = UsedUp::default();
        let bounds = Bounds::new(self.memory_bytes, memory, meter.clone(), used_up.clone());
        let guest = match &self.code.entry {
            Entry::Core(_) => self.core(bounds, &used_up),
            Entry::Command(_) | Entry::Http(_) => self.component(bounds, &used_up),
        };
        (metered(guest, meter, held), used_up)
    }

    fn core(self, bounds: Bounds, used_up: &UsedUp) -> Guest {
        let answer = AnswerBuffer::new(self.answer_bytes, self.rooms.clone());
        let view = self.view(Some(self.event.clone()), Sink::Answer(answer.clone()));
        let state = CoreState::new(view, bounds);
        let mut store = Store::new(&self.engine, state);
        store.limiter_async(|state| &mut state.bounds);
        in_slices(&mut store, &self.ticker, SLICE_TICKS, used_up);
        let guest = async move {
            let Entry::Core(pre) = &self.code.entry else {
                unreachable!("a core module was asked for");
            };
            let ran = command::core(pre, store).await;
            self.command_ended(ran, &answer)
        };
        Box::pin(guest)
    }

    fn component(self, bounds: Bounds, used_up: &UsedUp) -> Guest {
        let is_http = matches!(self.code.entry, Entry::Http(_));
        let answer = AnswerBuffer::new(self.answer_bytes, self.rooms.clone());
        let view = if is_http {
            self.view(None, self.log(GuestStream::Stdout))
        } else {
            self.view(Some(self.event.clone()), Sink::Answer(answer.clone()))
        };
        let state = ComponentState::new(view, bounds);
        let mut store = Store::new(&self.engine, state);
        store.limiter_async(|state| &mut state.bounds);
        in_slices(&mut store, &self.ticker, SLICE_TICKS, used_up);
        let guest = async move {
            match &self.code.entry {
                Entry::Http(pre) => {
                    let event = http::Event::read(self.event.clone());
                    let (limit, rooms) = (self.answer_bytes, &*self.rooms);
                    match http::run(pre, store, event, limit, rooms).await {
                        Ok(ended) => ended,
                        Err(error) => self.failed(&error),
                    }
                }
                Entry::Command(pre) => {
                    let ran = command::component(pre, store).await;
                    self.command_ended(ran, &answer)
                }
                Entry::Core(_) => unreachable!("a component was asked for"),
            }
        };
        Box::pin(guest)
    }

    fn view(&self, stdin: Option<Bytes>, stdout: Sink) -> View<'_> {
        View {
            env: &self.env,
            event_env: &self.event_env,
            name: &self.name,
            stdin,
            stdout,
            stderr: self.log(GuestStream::Stderr),
        }
    }

    fn log(&self, stream: GuestStream) -> Sink {
        Sink::Log(stream, self.output.clone())
    }

    /// A command answers with all that it wrote, and only by ending well.
    fn command_ended(&self, ran: wasmtime::Result<()>, answer: &AnswerBuffer) -> Ended {
        let Some((body, room)) = answer.take() else {
            return Ended::TooLarge;
        };
        match ran {
            Ok(()) => Ended::Answer {
                content_type: None,
                body,
                room: None,
            }
            .held_in(room),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &wasmtime::Error) -> Ended {
        if self.meter.was_refused.load(Ordering::Relaxed) {
            return Ended::OutOfMemory;
        }
        if self.meter.found_no_room.load(Ordering::Relaxed) {
            return Ended::NoRoom;
        }
        if let Some(I32Exit(status)) = error.downcast_ref() {
            return Ended::Failed {
                error_type: "Runtime.ExitError".to_owned(),
                message: format!("Runtime exited with error: exit status {status}"),
            };
        }
        // The guest's own stack is the function's to read; the host's is nobody's.
        let reason = error.root_cause();
        let stack = error.downcast_ref::<WasmBacktrace>();
        let stack = stack.map_or_else(String::new, ToString::to_string);
        let text = format!("{reason}\n{stack}\n");
        self.output.write(GuestStream::Stderr, text.as_bytes());
        Ended::Failed {
            error_type: "Runtime.Trap".to_owned(),
            message: reason.to_string(),
        }
    }
}

/// Adds the processor time of every turn, on whichever thread it is.
fn metered(mut guest: Guest, meter: Arc<Meter>, held: impl Send + 'static) -> Guest {
    let mut held = Some(held);
    Box::pin(poll_fn(move |context| {
        let before = thread_cpu_ns();
        let polled = guest.as_mut().poll(context);
        let took = thread_cpu_ns().saturating_sub(before);
        meter.cpu_ns.fetch_add(took, Ordering::Relaxed);
        if polled.is_ready() {
            meter.memory_bytes.store(0, Ordering::Relaxed);
            drop(held.take());
        }
        polled
    }))
}

fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
