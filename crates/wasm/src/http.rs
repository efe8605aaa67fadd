//! `wasi:http` components: the event as a request, the response as an answer.
//!
//! | event | request | answer |
//! |---|---|---|
//! | of a function URL (payload format 2.0) | as it came to the URL | an object with `statusCode`, headers, cookies and body, which the URL turns back into the response |
//! | anything else | `POST /` with the event as its body, in JSON | the response's body; a status from 400 on is the function's error `Http.Status…` |
//!
//! Nothing but the event's own shape decides, so a direct invocation with a URL's event gets what
//! the URL would. A response is read whole, up to the answer's limit; trailers are dropped. The
//! component may go on after its response: the answer goes out when it has returned.

mod answer;
mod event;

pub(crate) use event::Event;

use crate::{limits::HEADER_BYTES_MAX, output::Rooms, run::Ended, state::ComponentState};
use bytes::BytesMut;
use freehold_domain::answers::ANSWER_FREE_BYTES;
use http_body_util::BodyExt;
use std::{future::poll_fn, pin::pin};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::{
    WasiHttpView,
    p2::{
        bindings::{
            ProxyPre,
            http::types::{ErrorCode, Scheme},
        },
        body::HyperOutgoingBody,
    },
};

type Sent = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

/// A response that was read to its end, or why not.
enum Response {
    Whole(Ended),
    TooLarge,
    /// The component said so.
    Refused(ErrorCode),
    /// Its body broke off.
    Broken(String),
    /// It returned without one.
    None,
}

/// Runs the component's handler on one event.
///
/// Errors: what the guest trapped with.
pub(crate) async fn run(
    pre: &ProxyPre<ComponentState>,
    mut store: Store<ComponentState>,
    event: Event,
    answer_bytes: u64,
    rooms: &Rooms,
) -> wasmtime::Result<Ended> {
    let (request, is_url) = match event.request() {
        Ok(request) => request,
        Err(reason) => {
            return Ok(Ended::Failed {
                error_type: "Http.BadRequest".to_owned(),
                message: format!("the event is no request: {reason}"),
            });
        }
    };
    let (sender, receiver) = oneshot::channel::<Sent>();
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(Scheme::Http, request)?;
    let outparam = view.new_response_outparam(sender)?;
    // The store goes with the guest, and with it the sender: a component that returns without a
    // response ends the wait for one.
    let guest = async move {
        let proxy = pre.instantiate_async(&mut store).await?;
        proxy
            .wasi_http_incoming_handler()
            .call_handle(&mut store, request, outparam)
            .await
    };
    let reading = async {
        let response = read(receiver, is_url, answer_bytes, rooms).await;
        rooms.end();
        response
    };
    let (mut guest, mut reading) = (pin!(guest), pin!(reading));
    let (ran, response) = tokio::select! {
        biased;
        response = &mut reading => {
            let holds_room = matches!(&response, Response::Whole(ended) if ended.holds_room());
            let ran = tokio::select! {
                biased;
                ran = &mut guest => ran,
                // Its answer is heard, and it is ended.
                () = rooms.outstays(), if holds_room => Ok(()),
            };
            (ran, response)
        }
        ran = &mut guest => (ran, reading.await),
    };
    if let Response::TooLarge = response {
        return Ok(Ended::TooLarge);
    }
    ran?;
    let failed = |error_type: &str, message: String| Ended::Failed {
        error_type: error_type.to_owned(),
        message,
    };
    Ok(match response {
        Response::Whole(ended) => ended,
        Response::TooLarge => Ended::TooLarge,
        Response::Refused(code) => failed("Http.Error", format!("{code:?}")),
        Response::Broken(reason) => failed(
            "Http.Error",
            format!("the response's body broke off: {reason}"),
        ),
        Response::None => failed(
            "Http.NoResponse",
            "the component returned without a response".to_owned(),
        ),
    })
}

/// The answer, of which a guest that runs on holds as much room as it needs.
async fn read(
    receiver: oneshot::Receiver<Sent>,
    is_url: bool,
    answer_bytes: u64,
    rooms: &Rooms,
) -> Response {
    let response = match receiver.await {
        Ok(Ok(response)) => response,
        Ok(Err(code)) => return Response::Refused(code),
        Err(_) => return Response::None,
    };
    let (head, mut body) = response.into_parts();
    let head_bytes: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if head_bytes > HEADER_BYTES_MAX {
        return Response::TooLarge;
    }
    let (mut whole, mut room) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if (whole.len() + data.len()) as u64 > answer_bytes {
                    return Response::TooLarge;
                }
                if room.is_none() && whole.len() + data.len() > ANSWER_FREE_BYTES {
                    room = Some(poll_fn(|cx| rooms.poll_room(cx, answer_bytes)).await);
                }
                whole.extend_from_slice(&data);
                rooms.came(whole.len());
            }
            Err(error) => return Response::Broken(format!("{error:?}")),
        }
    }
    let body = whole.freeze();
    let ended = match is_url {
        true => answer::of_url(&head, &body),
        false => answer::of_event(&head, body),
    };
    Response::Whole(ended.held_in(room))
}
