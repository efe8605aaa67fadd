//! The least that the Runtime API costs: hyper in front, hyper behind, a function between them.
//!
//! No signature, no limits, no log, no ledger, no sandbox; the same library for HTTP and as many
//! processes of the function as there are callers.

use crate::{Failure, client::Target};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    convert::Infallible,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
};
use tokio::{net::TcpListener, sync::oneshot, task::LocalSet};

type Event = (u64, Bytes);

/// What is between the two sides.
#[derive(Default)]
struct Between {
    /// Functions that ask; the last to ask is the first to get.
    asking: RefCell<Vec<oneshot::Sender<Event>>>,
    /// Events that no function has asked for.
    waiting: RefCell<std::collections::VecDeque<Event>>,
    /// Who waits for an answer.
    out: RefCell<HashMap<u64, oneshot::Sender<Bytes>>>,
    ids: Cell<u64>,
}

impl Between {
    async fn front(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = request.into_body().collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let (answer, answered) = oneshot::channel();
        let id = self.ids.get() + 1;
        self.ids.set(id);
        self.out.borrow_mut().insert(id, answer);
        let asks = self.asking.borrow_mut().pop();
        let left = match asks {
            Some(asks) => asks.send((id, body)).err(),
            None => Some((id, body)),
        };
        self.waiting.borrow_mut().extend(left);
        Response::new(Full::new(answered.await.unwrap_or_default()))
    }

    async fn behind(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() == hyper::Method::GET {
            let waits = self.waiting.borrow_mut().pop_front();
            let event = match waits {
                Some(event) => Some(event),
                None => {
                    let (ask, asked) = oneshot::channel();
                    self.asking.borrow_mut().push(ask);
                    asked.await.ok()
                }
            };
            let (id, body) = event.unwrap_or_default();
            let mut response = Response::new(Full::new(body));
            response
                .headers_mut()
                .insert("lambda-runtime-aws-request-id", id.into());
            return response;
        }
        let id = request
            .uri()
            .path()
            .split('/')
            .nth(4)
            .map(str::parse::<u64>);
        let body = request.into_body().collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        if let Some(Ok(id)) = id
            && let Some(answer) = self.out.borrow_mut().remove(&id)
        {
            let _ = answer.send(body);
        }
        Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}\n")))
    }
}

/// Serves until killed; the first line of output is the front's address.
pub async fn serve(function: &Path, processes: usize) -> Result<(), Failure> {
    let front = TcpListener::bind("127.0.0.1:0").await?;
    let behind = TcpListener::bind("127.0.0.1:0").await?;
    let api = behind.local_addr()?.to_string();
    let mut functions = Vec::new();
    for _ in 0..processes {
        let mut command = Command::new(function);
        functions.push(Owned(
            command
                .env("AWS_LAMBDA_RUNTIME_API", &api)
                .stdin(Stdio::null())
                // Lines of its log are nobody's here.
                .stdout(Stdio::null())
                .spawn()?,
        ));
    }
    println!("{}", front.local_addr()?);
    let between = Rc::new(Between::default());
    let local = LocalSet::new();
    for (listener, is_front) in [(front, true), (behind, false)] {
        let between = between.clone();
        local.spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let between = between.clone();
                tokio::task::spawn_local(async move {
                    let service = service_fn(move |request| {
                        let between = between.clone();
                        async move {
                            Ok::<_, Infallible>(if is_front {
                                between.front(request).await
                            } else {
                                between.behind(request).await
                            })
                        }
                    });
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    }
    local.await;
    Ok(())
}

/// A child that ends with its owner.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// It as a process of its own, its functions with it.
pub struct Bare {
    child: Child,
    /// Where it answers.
    pub target: Target,
}

impl Bare {
    /// Starts this program again as the bare Runtime API over `function`.
    pub fn start(function: &Path, processes: usize) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bare")
            .arg(function)
            .arg(processes.to_string())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("it has no output")?).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self {
            child,
            target: Target {
                address,
                host: address.to_string(),
                path: "/".to_owned(),
            },
        })
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Its functions end when their connections do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
