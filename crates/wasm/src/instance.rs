//! One instance: a seat for one event at a time, each in a fresh guest.
//!
//! ```text
//!  alive ──destroy, out of memory──▶ closing ──the guest is gone──▶ ended
//! ```
//!
//! Between events there is nothing but this struct: freezing has nothing to stop, and what the
//! function keeps in its memory ends with each event. It is what the engine counts, logs and bills by.

use crate::{
    code::Code,
    host::Shared,
    output::Rooms,
    run::{Ended, Turn},
    shares::{Full, Share},
    state::Meter,
};
use freehold_domain::{
    BoxFuture,
    body::{Body, BodyError},
    limits::Limits,
    live::Live,
    ports::{
        ExitCause, ExitReport, GuestAnswer, GuestCall, GuestOutput, InProcessSpec, Instance,
        InstanceGone, InstanceIo, InstanceUsage, Link, LinkError, Spent,
    },
};
use std::{
    future::ready,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::{Mutex, watch};

/// See the module.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    code: Arc<Code>,
    name: Arc<str>,
    env: Arc<[(String, String)]>,
    memory_bytes: u64,
    /// The tenant's part of the guests' memory.
    memory: Share,
    /// The tenant's part of the pool.
    places: Share,
    limits: Live<Limits>,
    output: Arc<dyn GuestOutput>,
    meter: Arc<Meter>,
    /// Held by the guest that runs, wherever it runs.
    taken: Arc<Mutex<()>>,
    life: watch::Sender<Life>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Alive,
    Closing,
    Ended(ExitReport),
}

impl Seat {
    pub(crate) fn new(shared: Arc<Shared>, code: Arc<Code>, spec: InProcessSpec) -> Self {
        let tenant = &spec.code.tenant;
        Self {
            memory: shared.memory.of(tenant),
            places: shared.places.of(tenant),
            shared,
            code,
            name: spec.code.file.into(),
            env: spec.env.into(),
            memory_bytes: spec.memory.bytes(),
            limits: spec.limits,
            output: spec.output,
            meter: Arc::default(),
            taken: Arc::default(),
            life: watch::Sender::new(Life::Alive),
        }
    }

    fn usage_now(&self) -> InstanceUsage {
        InstanceUsage {
            memory_bytes: self.meter.memory_bytes.load(Ordering::Relaxed),
            memory_peak_bytes: self.meter.memory_peak_bytes.load(Ordering::Relaxed),
            cpu_us: self.meter.cpu_ns.load(Ordering::Relaxed) / 1000,
            ..InstanceUsage::default()
        }
    }

    fn is_alive(&self) -> bool {
        *self.life.borrow() == Life::Alive
    }

    /// Ends it, by the first cause that is named, once no guest is left.
    async fn end(&self, cause: ExitCause) -> ExitReport {
        self.life.send_if_modified(|life| {
            let is_alive = *life == Life::Alive;
            if is_alive {
                *life = Life::Closing;
            }
            is_alive
        });
        let _nobody_runs = self.taken.lock().await;
        let mut usage = self.usage_now();
        usage.oom_kills = u64::from(cause == ExitCause::OutOfMemory);
        let report = ExitReport { cause, usage };
        self.life.send_if_modified(|life| {
            let is_first = !matches!(life, Life::Ended(_));
            if is_first {
                *life = Life::Ended(report.clone());
            }
            is_first
        });
        match &*self.life.borrow() {
            Life::Ended(first) => first.clone(),
            _ => report,
        }
    }

    async fn run(&self, call: GuestCall) -> Result<GuestAnswer, LinkError> {
        let (event_env, whose) = (event_env(&call), call.whose());
        let (event, _) = call
            .body
            .collect(u64::MAX)
            .await
            .map_err(|error| match error {
                BodyError::TooLarge { limit_bytes } => {
                    broken(format!("an event over {limit_bytes} bytes"))
                }
                BodyError::Broken { reason } => broken(reason),
            })?;
        let taken = self.taken.clone().lock_owned().await;
        // Never waited for: what an event waits here would be its function's time.
        let places = self.places.take(u64::from(self.code.places));
        let places = places.map_err(|full| busy(full, "place"))?;
        let memory = self.memory.take(0).map_err(|full| busy(full, "memory"))?;
        let held = (places, taken);
        let mut life = self.life.subscribe();
        if *life.borrow_and_update() != Life::Alive {
            return Err(LinkError::Closed);
        }
        let answer_bytes = self.limits.now().sync_payload_bytes;
        let rooms = Rooms::new(self.shared.answers.clone(), whose);
        let turn = Turn {
            engine: self.shared.engine.clone(),
            ticker: self.shared.ticker.clone(),
            code: self.code.clone(),
            name: self.name.clone(),
            env: self.env.clone(),
            event_env,
            event,
            memory_bytes: self.memory_bytes,
            answer_bytes,
            rooms: rooms.clone(),
            output: self.output.clone(),
            meter: self.meter.clone(),
        };
        let (guest, used_up) = turn.begin(memory, held);
        let ran = tokio::select! {
            biased;
            ran = self.shared.long_runners.run(guest, &used_up) => ran,
            _ = life.changed() => return Err(LinkError::Closed),
            slow = rooms.too_slow() => return Err(slow),
        };
        match ran {
            Some(Ended::Answer {
                content_type,
                body,
                room,
            }) => Ok(GuestAnswer::Response {
                content_type,
                body: Body::full(body),
                room,
            }),
            Some(Ended::Failed {
                error_type,
                message,
            }) => {
                let body = serde_json::json!({ "errorType": error_type, "errorMessage": message });
                Ok(GuestAnswer::Error {
                    error_type: Some(error_type),
                    body: body.to_string().into(),
                    room: None,
                })
            }
            Some(Ended::OutOfMemory) => {
                self.end(ExitCause::OutOfMemory).await;
                Err(LinkError::Closed)
            }
            Some(Ended::NoRoom) => Err(LinkError::Busy {
                reason: "the memory for WebAssembly guests is in use".to_owned(),
            }),
            Some(Ended::TooLarge) => Err(LinkError::TooLarge {
                limit_bytes: answer_bytes,
                sent_bytes: None,
            }),
            None => Err(broken("the guest's thread ended".to_owned())),
        }
    }
}

fn busy(full: Full, of: &str) -> LinkError {
    let whose = match full {
        Full::Tenant => "its tenant",
        Full::Node => "the node",
    };
    LinkError::Busy {
        reason: format!("{whose} has no {of} left for a WebAssembly guest"),
    }
}

fn broken(reason: String) -> LinkError {
    LinkError::Broken { reason }
}

/// What differs from event to event: the instance is new each time, so its environment says it.
fn event_env(call: &GuestCall) -> Vec<(String, String)> {
    let mut env = vec![
        ("FREEHOLD_REQUEST_ID".to_owned(), call.id.to_string()),
        (
            "FREEHOLD_DEADLINE_MS".to_owned(),
            call.deadline.millis().to_string(),
        ),
        ("_X_AMZN_TRACE_ID".to_owned(), call.trace.to_string()),
    ];
    if let Some(context) = &call.client_context
        && let Ok(text) = std::str::from_utf8(context)
    {
        env.push(("FREEHOLD_CLIENT_CONTEXT".to_owned(), text.to_owned()));
    }
    env
}

impl Link for Seat {
    fn slots(&self) -> u16 {
        1
    }

    fn handle(&self, call: GuestCall) -> BoxFuture<'_, Result<GuestAnswer, LinkError>> {
        Box::pin(self.run(call))
    }
}

impl Instance for Seat {
    fn take_io(&self) -> Option<InstanceIo> {
        None
    }

    fn freeze(&self) -> BoxFuture<'_, Result<(), InstanceGone>> {
        // Nothing of it runs between events.
        Box::pin(ready(self.is_alive().then_some(()).ok_or(InstanceGone)))
    }

    fn thaw(&self) -> BoxFuture<'_, Result<(), InstanceGone>> {
        Box::pin(ready(self.is_alive().then_some(()).ok_or(InstanceGone)))
    }

    fn spent(&self) -> Result<Spent, InstanceGone> {
        Ok(self.usage_now().into())
    }

    fn usage(&self) -> BoxFuture<'_, Result<InstanceUsage, InstanceGone>> {
        Box::pin(ready(Ok(self.usage_now())))
    }

    fn destroy(&self) -> BoxFuture<'_, ExitReport> {
        Box::pin(self.end(ExitCause::Destroyed))
    }

    fn exited(&self) -> BoxFuture<'static, ExitReport> {
        let mut life = self.life.subscribe();
        Box::pin(async move {
            let ended = life.wait_for(|life| matches!(life, Life::Ended(_))).await;
            match ended.as_deref() {
                Ok(Life::Ended(report)) => report.clone(),
                // The last handle was dropped, and with it the seat.
                _ => ExitReport {
                    cause: ExitCause::Destroyed,
                    usage: InstanceUsage::default(),
                },
            }
        })
    }
}
