//! The generator: one connection, one request at a time, two instants per answer.

use crate::Failure;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, task::JoinHandle};

/// Longest wait for any answer here.
const LIMIT: Duration = Duration::from_secs(60);

/// What is called.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// What the Host header says: function URLs go by it.
    pub host: String,
    /// Path and query.
    pub path: String,
}

/// One answer.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Whole body.
    pub body: Bytes,
    /// Until the head of the answer was there.
    pub first_byte: Duration,
    /// Until the body had ended.
    pub whole: Duration,
}

/// An open connection.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    target: Target,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects.
    pub async fn open(target: &Target) -> Result<Self, Failure> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            target: target.clone(),
            driver,
        })
    }

    /// Posts `body` and reads the whole answer.
    pub async fn post(&mut self, body: &'static [u8]) -> Result<Answer, Failure> {
        self.send("POST", Bytes::from_static(body)).await
    }

    /// Gets and reads the whole answer.
    pub async fn get(&mut self) -> Result<Answer, Failure> {
        self.send("GET", Bytes::new()).await
    }

    async fn send(&mut self, method: &str, body: Bytes) -> Result<Answer, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(&self.target.path)
            .header(header::HOST, &self.target.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        self.ask(request).await
    }

    /// Sends a request that is whole, and reads the whole answer.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let begun = Instant::now();
        tokio::time::timeout(LIMIT, async {
            let answer = self.sender.send_request(request).await?;
            let first_byte = begun.elapsed();
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await?.to_bytes();
            Ok(Answer {
                status,
                body,
                first_byte,
                whole: begun.elapsed(),
            })
        })
        .await
        .map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))?
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The driver holds the socket: a client that hangs up must really close it.
        self.driver.abort();
    }
}
