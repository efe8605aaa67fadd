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
//! A version with SnapStart comes up in two halves, with the function's hooks at the end of the first and
//! the begin of the second. Here it is the runtime that says where the first ends; one that knows nothing
//! of hooks asks for an event at once, and has none to run:
//!
//! ```text
//!   Starting ──restore/next──▶ Between ──resume()──▶ Restoring ──restore/error──▶ Closed (OpenError::Init)
//!                                                        └──────next──────▶ Idle
//! ```
//!
//! No image is taken of it on either way: its connections stand between it and us.
//!
//! A poll for the next event waits as long as the instance lives, and connections end with the instance
//! or when its link is dropped. What is bounded is bytes and connections ([`RuntimeLimits`]); of large
//! answers one is read at a time, once there is [room] for it, and ends its call where it comes so slowly
//! that it is in the way of others. Nothing else here has a deadline.
//!
//! [room]: freehold_domain::answers
//!
//! Source: AWS Lambda developer guide, "Using the Lambda runtime API"; texts of errors, and what is said
//! around a restore, from the public runtime interface emulator and clients.

mod http;
mod line;

use freehold_domain::{
    BoxFuture,
    answers::Answers,
    live::Live,
    ports::{Contract, GuestAnswer, GuestCall, Link, LinkError, OpenError, Opening, Wires, Wiring},
};
use line::{Line, Opened};
use std::{os::fd::OwnedFd, sync::Arc};
use tokio::{net::TcpListener, task::JoinHandle};

/// Tells a runtime that it comes up in two halves.
const HALVES: (&str, &str) = ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start");
/// Why no image is taken: of the runtimes that have them, those behind a wrapper speak this API.
const CONNECTED: &str = "it speaks the Runtime API, as what AWS_LAMBDA_EXEC_WRAPPER starts does, and an \
                         image carries no connections";

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

    fn open(
        &self,
        wires: Wires,
        opening: Opening,
    ) -> BoxFuture<'_, Result<Arc<dyn Link>, OpenError>> {
        let (limits, answers) = (self.limits.clone(), self.answers.clone());
        let says_halves =
            |(name, value): &(String, String)| (name.as_str(), value.as_str()) == HALVES;
        let has_halves = opening.env.iter().any(says_halves);
        Box::pin(async move {
            let listener = listen(wires.runtime_api).map_err(|error| OpenError::Broken {
                reason: format!("its listener cannot be served: {error}"),
            })?;
            let (line, opened) = Line::new(answers, has_halves);
            let line = Arc::new(line);
            // The guard ends the server when this future is dropped half way, too.
            let server = Server(tokio::spawn(http::serve(listener, line.clone(), limits)));
            until_asked(opened).await?;
            Ok(Arc::new(RuntimeLink {
                line,
                _server: server,
            }) as Arc<dyn Link>)
        })
    }
}

/// Waits until the runtime asks for more, or has said why it does not.
async fn until_asked(opened: Opened) -> Result<(), OpenError> {
    match opened.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            // The guest waits for the acknowledgement of its report before it exits.
            http::let_answers_leave().await;
            Err(error)
        }
        Err(_) => Err(OpenError::Broken {
            reason: "its listener closed before the runtime asked for an event".into(),
        }),
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

    fn prepare_image(&self) -> BoxFuture<'_, Result<(), OpenError>> {
        // The hooks before a snapshot ran before the line opened.
        Box::pin(async {
            Err(OpenError::Broken {
                reason: CONNECTED.to_owned(),
            })
        })
    }

    /// Its environment stays what it was executed with.
    fn resume(&self, _: Opening) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(async move {
            match self.line.restored()? {
                Some(opened) => until_asked(opened).await,
                None => Ok(()),
            }
        })
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
