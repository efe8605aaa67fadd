//! Which services are spoken, by which protocol, and the one trait that all operations share.

use bytes::Bytes;
use http::request::Parts;

use crate::{Labels, WireFault};

/// A service whose wire format this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// AWS Lambda, 2015-03-31.
    Lambda,
    /// Amazon CloudWatch Logs, 2014-03-28.
    Logs,
    /// AWS Security Token Service, 2011-06-15.
    Sts,
}

/// How a service puts operations and values on HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The operation is a method and a path; values live in labels, query, headers and a JSON body.
    RestJson,
    /// The operation is `X-Amz-Target`; everything else is one JSON document.
    Json11,
    /// The operation is the form parameter `Action`; the answer is XML.
    Query,
}

impl Service {
    /// The name in credential scopes and policy actions: `lambda`.
    pub fn name(self) -> &'static str {
        match self {
            Service::Lambda => "lambda",
            Service::Logs => "logs",
            Service::Sts => "sts",
        }
    }

    /// The service whose name a credential scope carries.
    pub fn from_name(name: &str) -> Option<Self> {
        [Service::Lambda, Service::Logs, Service::Sts]
            .into_iter()
            .find(|service| service.name() == name)
    }

    /// The protocol that the service's model names.
    pub fn protocol(self) -> Protocol {
        match self {
            Service::Lambda => Protocol::RestJson,
            Service::Logs => Protocol::Json11,
            Service::Sts => Protocol::Query,
        }
    }

    /// The error code under which a failed constraint of the model is reported.
    /// Source: the recordings for Lambda (`ValidationException`); CloudWatch Logs answers
    /// `InvalidParameterException`, STS `ValidationError`.
    pub fn validation_code(self) -> &'static str {
        match self {
            Service::Lambda => "ValidationException",
            Service::Logs => "InvalidParameterException",
            Service::Sts => "ValidationError",
        }
    }
}

/// One served operation: its request read from HTTP, its answer written to HTTP.
///
/// Implemented by generated marker types (`lambda::CreateFunction`), so that a front end can be
/// generic over them: `serve::<lambda::GetFunction>(|request| ...)`.
pub trait Call {
    /// The operation's name in the service model.
    const NAME: &'static str;
    /// Whose operation it is.
    const SERVICE: Service;
    /// What is asked.
    type Request;
    /// What is answered; `()` where the model has no output.
    type Response;

    /// Reads the request and checks every constraint of the model.
    ///
    /// Errors: [`WireFault`] naming the member at fault; [`WireFault::into_error`] makes the answer.
    fn decode(parts: &Parts, labels: Labels, body: Bytes) -> Result<Self::Request, WireFault>;

    /// Writes the answer, with `x-amzn-RequestId`. No Content-Length: the server knows the body.
    fn encode(response: Self::Response, request_id: &str) -> http::Response<Bytes>;
}
