//! The public Lambda Runtime API, served on a listener inside the instance.
//!
//! One [`LambdaRuntime`] opens any number of lines; each line is one listener, its few connections
//! and one [`line::Line`], the state machine that says which request may come now:
//!
//! ```text
//!   Starting ──init/error──▶ Closed (OpenError::Init)
//!      │ next
//!      ▼
//!    Idle ──handle()──▶ Busy ──response | error──▶ Idle
//!      ▲                 │ next: 403
//!      └── dropped call: an answer to it is refused from then on
//! ```
//!
//! A poll for the next event waits as long as the instance lives, and connections end with the instance
//! or when its link is dropped. What is bounded is bytes and connections ([`RuntimeLimits`]); of large
//! answers one is read at a time, once there is [room] for it, and ends its call where it comes so slowly
//! that it is in the way of others. Nothing else here has a deadline.
//!
//! [room]: freehold_domain::answers
//!
//! Source: AWS Lambda developer guide, "Using the Lambda runtime API"; texts of errors from the
//! public runtime interface emulator.

mod http;
mod line;

use freehold_domain::{
    BoxFuture,
    answers::Answers,
    live::Live,
    ports::{Contract, GuestAnswer, GuestCall, Link, LinkError, OpenError, Opening, Wires, Wiring},
};
use line::Line;
use std::{os::fd::OwnedFd, sync::Arc};
use tokio::{net::TcpListener, task::JoinHandle};

/// What a guest may send.
#[derive(Debug, Clone, Copy)]
pub struct RuntimeLimits {
    /// Largest answer, bytes: the limit of a synchronous payload and 100 more, as on Lambda.
    pub answer_bytes: u64,
    /// Largest error payload, bytes.
    pub error_bytes: u64,
    /// All header bytes of one request.
    pub header_bytes: usize,
    /// Connections of one instance at once; one more closes the oldest's successor at accept.
    pub connections: usize,
}

impl RuntimeLimits {
    /// The limits that follow from the largest synchronous payload.
    pub fn for_payload(sync_payload_bytes: u64) -> Self {
        Self {
            answer_bytes: sync_payload_bytes + 100,
            error_bytes: 256 << 10,
            header_bytes: 64 << 10,
            connections: 8,
        }
    }
}

/// The contract of every runtime that speaks the Runtime API.
#[derive(Debug, Clone)]
pub struct LambdaRuntime {
    limits: Live<RuntimeLimits>,
    answers: Arc<Answers>,
}

impl LambdaRuntime {
    /// A contract with these limits, as they are when each request comes in, and this room for
    /// answers.
    pub fn new(limits: impl Into<Live<RuntimeLimits>>, answers: Arc<Answers>) -> Self {
        Self {
            limits: limits.into(),
            answers,
        }
    }
}

impl Contract for LambdaRuntime {
    fn wiring(&self) -> Wiring {
        Wiring::GuestDials
    }

    fn open(&self, wires: Wires, _: Opening) -> BoxFuture<'_, Result<Arc<dyn Link>, OpenError>> {
        let (limits, answers) = (self.limits.clone(), self.answers.clone());
        Box::pin(async move {
            let listener = listen(wires.runtime_api).map_err(|error| OpenError::Broken {
                reason: format!("its listener cannot be served: {error}"),
            })?;
            let (line, opened) = Line::new(answers);
            let line = Arc::new(line);
            // The guard ends the server when this future is dropped half way, too.
            let server = Server(tokio::spawn(http::serve(listener, line.clone(), limits)));
            match opened.await {
                Ok(Ok(())) => Ok(Arc::new(RuntimeLink {
                    line,
                    _server: server,
                }) as Arc<dyn Link>),
                Ok(Err(error)) => {
                    // The guest waits for the acknowledgement of its report before it exits.
                    http::let_answers_leave().await;
                    Err(error)
                }
                Err(_) => Err(OpenError::Broken {
                    reason: "its listener closed before the runtime asked for an event".into(),
                }),
            }
        })
    }
}

/// Makes the sandbox's descriptor a listener of this runtime.
fn listen(listener: OwnedFd) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Ends the line's tasks with the link.
#[derive(Debug)]
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One instance's line. One event at a time.
struct RuntimeLink {
    line: Arc<Line>,
    _server: Server,
}

impl Link for RuntimeLink {
    fn slots(&self) -> u16 {
        1
    }

    fn until_ready(&self) -> Option<BoxFuture<'_, ()>> {
        (!self.line.asks()).then(|| Box::pin(self.line.until_asks()) as BoxFuture<'_, ()>)
    }

    fn answer_waits(&self) -> bool {
        self.line.reads_large()
    }

    fn handle(&self, call: GuestCall) -> BoxFuture<'_, Result<GuestAnswer, LinkError>> {
        Box::pin(async move {
            let exchange = self.line.offer(call)?;
            exchange.answered().await.map(Into::into)
        })
    }
}

#[cfg(test)]
mod tests;
