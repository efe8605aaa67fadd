//! A response as an answer.

use crate::run::Ended;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, header, response::Parts};
use serde::Serialize;
use std::{borrow::Cow, collections::BTreeMap};

/// Bytes of an error's body that are shown in its message.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Source: AWS Lambda developer guide, "Invoking Lambda function URLs", response payload format
/// 2.0.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UrlAnswer<'a> {
    status_code: u16,
    headers: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    body: Cow<'a, str>,
    is_base64_encoded: bool,
}

/// What a function URL turns back into this response: repeated headers joined by commas, cookies
/// apart, a body that is not text in base64.
pub(super) fn of_url(head: &Parts, body: &Bytes) -> Ended {
    let text = std::str::from_utf8(body);
    let answer = UrlAnswer {
        status_code: head.status.as_u16(),
        headers: headers(&head.headers),
        cookies: head
            .headers
            .get_all(header::SET_COOKIE)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect(),
        is_base64_encoded: text.is_err(),
        body: text.map_or_else(|_| STANDARD.encode(body).into(), Cow::Borrowed),
    };
    let body = serde_json::to_vec(&answer).expect("text keys and values always serialise");
    Ended::Answer {
        content_type: Some("application/json".to_owned()),
        body: body.into(),
        room: None,
    }
}

/// The body itself; a response that says that it failed is the function's error.
pub(super) fn of_event(head: &Parts, body: Bytes) -> Ended {
    if head.status.is_client_error() || head.status.is_server_error() {
        let shown = &body[..body.len().min(MESSAGE_BYTES_MAX)];
        return Ended::Failed {
            error_type: format!("Http.Status{}", head.status.as_u16()),
            message: String::from_utf8_lossy(shown).into_owned(),
        };
    }
    let content_type = head.headers.get(header::CONTENT_TYPE);
    Ended::Answer {
        content_type: content_type.and_then(|value| Some(value.to_str().ok()?.to_owned())),
        body,
        room: None,
    }
}

/// Lengths and what belongs to one hop are the URL's to say.
fn headers(all: &HeaderMap) -> BTreeMap<&str, String> {
    let mut found = BTreeMap::<&str, String>::new();
    for (name, value) in all {
        let is_ours = [
            header::SET_COOKIE,
            header::CONTENT_LENGTH,
            header::CONNECTION,
            header::TRANSFER_ENCODING,
            header::TRAILER,
            header::UPGRADE,
        ]
        .contains(name);
        if is_ours {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        found
            .entry(name.as_str())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16) -> Parts {
        let response = http::Response::builder()
            .status(status)
            .header("x-a", "1")
            .header("x-a", "2")
            .header("set-cookie", "c=1")
            .header("set-cookie", "d=2")
            .header("content-length", "3")
            .header("content-type", "text/plain");
        response.body(()).unwrap().into_parts().0
    }

    fn json(ended: Ended) -> serde_json::Value {
        match ended {
            Ended::Answer { body, .. } => serde_json::from_slice(&body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_response_is_what_the_url_turns_back() {
        let found = json(of_url(&head(201), &Bytes::from_static(b"a\"\n")));
        assert_eq!(
            found,
            serde_json::json!({
                "statusCode": 201, "headers": {"x-a": "1, 2", "content-type": "text/plain"},
                "cookies": ["c=1", "d=2"], "body": "a\"\n", "isBase64Encoded": false,
            })
        );
        let found = json(of_url(&head(200), &Bytes::from_static(&[0, 255])));
        assert_eq!(
            (&found["body"], &found["isBase64Encoded"]),
            (&"AP8=".into(), &true.into())
        );
    }

    #[test]
    fn a_failed_response_to_an_event_is_the_functions_error() {
        let Ended::Failed {
            error_type,
            message,
        } = of_event(&head(404), "nope".into())
        else {
            panic!("a 404 is no answer");
        };
        assert_eq!((&*error_type, &*message), ("Http.Status404", "nope"));
        let Ended::Answer {
            content_type, body, ..
        } = of_event(&head(302), "x".into())
        else {
            panic!("a 302 is an answer");
        };
        assert_eq!(
            (content_type.as_deref(), &*body),
            (Some("text/plain"), &b"x"[..])
        );
    }
}
