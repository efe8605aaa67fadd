//! Renders a ticket as a picture: `GET /TOKEN` answers an SVG that a browser shows.
//!
//! The token is what `tickets` signed, so nothing is stored here, and no ticket is drawn that
//! `tickets` did not issue.

mod svg;
mod ticket;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};
use ticket::{Refused, Ticket};

/// Of an event of a function URL (payload format 2.0), what this function reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    raw_path: String,
    request_context: RequestContext,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Http,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

// One event at a time reaches an instance, so one thread is enough.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // Without its key the function cannot serve anyone: better to fail its start, with the reason.
    let key = std::env::var("TICKET_KEY").map_err(|_| "TICKET_KEY is not set")?;
    let key = key.as_bytes();
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Request>| async move {
        Ok::<_, Error>(answer(&event.payload, key))
    }))
    .await
}

fn answer(request: &Request, key: &[u8]) -> Value {
    if !matches!(request.request_context.http.method.as_str(), "GET" | "HEAD") {
        return failure(405, "MethodNotAllowed", "a ticket is fetched with GET");
    }
    let token = request.raw_path.trim_matches('/');
    // A browser asks for more than it was sent to: only what looks like a token is one.
    if token.split('.').count() != 3 {
        return failure(
            404,
            "NotFound",
            "the path is /TOKEN, as a booking's answer has it",
        );
    }
    match Ticket::verify(token, key) {
        Ok(ticket) => json!({
            "statusCode": 200,
            "headers": {
                "Content-Type": "image/svg+xml",
                // The token is a bearer's: shared caches have no business with it.
                "Cache-Control": "private, max-age=3600",
            },
            "body": svg::render(&ticket, token),
        }),
        Err(refused @ Refused::Malformed(_)) => {
            failure(400, "MalformedTicket", &refused.to_string())
        }
        Err(refused @ Refused::Signature) => failure(403, "InvalidTicket", &refused.to_string()),
    }
}

fn failure(status: u16, code: &str, message: &str) -> Value {
    json!({
        "statusCode": status,
        "headers": { "Content-Type": "application/json" },
        "body": json!({ "error": { "code": code, "message": message } }).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(method: &str, path: &str) -> Value {
        let event = json!({ "rawPath": path, "requestContext": { "http": { "method": method } } });
        answer(&serde_json::from_value(event).unwrap(), ticket::tests::KEY)
    }

    #[test]
    fn a_ticket_is_answered_as_a_picture() {
        let token = ticket::tests::signed(&ticket::tests::claims());
        let answer = get("GET", &format!("/{token}"));
        assert_eq!(answer["statusCode"], 200);
        assert_eq!(answer["headers"]["Content-Type"], "image/svg+xml");
        assert!(answer["body"].as_str().unwrap().starts_with("<svg "));
    }

    #[test]
    fn anything_else_is_refused_by_kind() {
        let status = |method, path: &str| get(method, path)["statusCode"].as_u64().unwrap();
        let token = ticket::tests::signed(&ticket::tests::claims());
        assert_eq!(status("POST", &format!("/{token}")), 405);
        assert_eq!(status("GET", "/"), 404);
        assert_eq!(status("GET", "/favicon.ico"), 404);
        assert_eq!(status("GET", "/a.b.c"), 400);
        assert_eq!(
            status("GET", &format!("/{}AA", &token[..token.len() - 2])),
            403
        );
    }
}
