//! A request that has arrived whole.

use crate::in_flight::HeldBytes;
use bytes::Bytes;
use freehold_domain::{InvocationId, ports::Caller};
use http::request::Parts;
use std::net::IpAddr;

/// What every front end is handed.
#[derive(Debug)]
pub struct Request {
    /// Its head, as it came.
    pub parts: Parts,
    /// Its body.
    pub body: Bytes,
    /// The request id: the invocation's, where it becomes one.
    pub id: InvocationId,
    /// Who connected; loopback for a guest.
    pub peer: IpAddr,
    /// The port of the listener.
    pub port: u16,
    /// Whether it came encrypted.
    pub is_secure: bool,
    /// The run that it came out of, on an instance's own listener.
    pub caller: Option<Caller>,
    /// The body's share of the bytes in flight, given back with the request.
    pub held: Option<HeldBytes>,
}

impl Request {
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }
}

/// How a URL begins.
pub(crate) fn scheme(is_secure: bool) -> &'static str {
    match is_secure {
        true => "https",
        false => "http",
    }
}
