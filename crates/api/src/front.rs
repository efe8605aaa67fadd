//! One request: its head within its limit and let in, its body within its own, then to the front
//! end that claims it.

use crate::{
    Api,
    audit::{Source, Watched},
    auth::Signer,
    body::{ReadBodyError, read_body},
    gate::{Admitted, SignedApi, SignedHead, admit},
    in_flight::{HeldBytes, Share},
    lambda::CallRate,
    refusals::Refusal,
    request::{Request, Tls},
    route::{Api as Target, route_api},
};
use bytes::Bytes;
use freehold_domain::{
    InstanceId, InvocationId, Principal, TenantId, TenantLimit,
    answers::{ANSWER_FREE_BYTES, Peer, Standing},
    ports::{CallChain, Caller, InstanceCredentials, Invoke},
    tenants::{HeldConnection, OverRate, TenantTable},
};
use freehold_wire::{ApiError, Service, common, lambda::error};
use http::{HeaderValue, Method, Response, StatusCode, Uri, Version, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use parking_lot::Mutex;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// How long the rest of a body that nobody wants is taken in and thrown away. A socket that is
/// closed with unread bytes resets its connection, and the sender loses the answer with it.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// Answers up to this are not counted where a connection may have many of them.
const MULTIPLEXED_FREE_BYTES: usize = 4 << 10;

/// Fields of one head: hyper's own bound for HTTP/1.1, which its HTTP/2 lacks.
const FIELDS_MAX: usize = 100;

/// Characters of a strange host that are told.
const HOST_TOLD_MAX: usize = 100;

/// What is answered to a change for which the disk has no room to spare.
const NEARLY_FULL: &str = "The disk of this node is nearly full; nothing was changed. Removals, reads and invocations go on.";

/// Who is at the other end of a listener.
#[derive(Clone)]
pub enum Audience {
    /// Anybody who can reach the address.
    Everybody,
    /// The guest of one instance: only calls that it signed itself are answered.
    Instance(Arc<Guest>),
}

/// One instance, as its own listener knows it.
pub struct Guest {
    /// The instance.
    pub(crate) id: InstanceId,
    /// Whose it is.
    pub(crate) tenant: TenantId,
    /// What its bodies may hold.
    pub(crate) share: Arc<Share>,
    /// What it runs.
    pub(crate) chain: Arc<dyn CallChain>,
    /// Knows its session.
    pub(crate) credentials: Arc<dyn InstanceCredentials>,
    /// It was told its session.
    pub(crate) was_told: AtomicBool,
}

impl Audience {
    /// Who calls URLs from such an address.
    fn peer(&self, address: IpAddr) -> Peer {
        match self {
            Self::Everybody => Peer::at(address),
            Self::Instance(guest) => Peer::Instances(guest.tenant.clone()),
        }
    }

    /// The run that a request belongs to which has just been read.
    fn caller(&self) -> Option<Caller> {
        match self {
            Self::Everybody => None,
            Self::Instance(guest) => guest.chain.caller(),
        }
    }
}

/// What the line tells of a request that comes over it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Via {
    /// Who connected.
    pub(crate) peer: IpAddr,
    /// The listener's port.
    pub(crate) port: u16,
    /// Whether it is encrypted.
    pub(crate) is_secure: bool,
    /// How, where it ends here.
    pub(crate) tls: Option<Tls>,
    /// Whether the request is for a name of ours.
    pub(crate) names_us: bool,
}

/// Whose a connection counts as: the tenant's whose request it carried last.
#[derive(Default)]
pub(crate) struct Seat(Mutex<Option<HeldConnection>>);

impl Seat {
    /// Counts the connection as this tenant's from now on.
    ///
    /// Errors: the tenant's limit, where others have all of it.
    fn take(&self, tenants: &TenantTable, tenant: &TenantId) -> Result<(), u64> {
        let mut held = self.0.lock();
        if held.as_ref().is_some_and(|held| held.tenant() == tenant) {
            return Ok(());
        }
        *held = None;
        *held = tenants.connect(tenant)?;
        Ok(())
    }
}

/// What every connection of one core shares.
#[derive(Clone)]
pub struct Front {
    /// The APIs.
    pub api: Arc<Api>,
    /// The engine on this core.
    pub invoker: Arc<dyn Invoke>,
    /// Who is there.
    pub audience: Audience,
}

impl Front {
    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        via: Via,
        seat: &Seat,
    ) -> Response<Bytes> {
        let id = self.api.ids.invocation();
        let (mut parts, mut body) = request.into_parts();
        let is_connect = parts.method == Method::CONNECT;
        if parts.uri.authority().is_some() {
            host_from_target(&mut parts);
        }
        let target = route_api(&parts, &self.api.url_domain);
        let expect = parts.headers.contains_key(header::EXPECT);
        tracing::trace!(method = %parts.method, uri = %parts.uri, ?target, expect, "a request");
        let head = head_bytes(&parts);
        if parts.headers.len() > FIELDS_MAX || head > u64::from(self.api.limits.now().header_bytes)
        {
            self.api.refusals.count(Refusal::HeaderBytes);
            return self.let_go(body, &parts, refuse_head(&target, &id.to_string()));
        }
        if let Some(error) = wrong_host(&parts, via).or_else(|| is_connect.then(no_tunnel)) {
            let response = error.encode(service_of(&target), &id.to_string());
            return self.let_go(body, &parts, response);
        }
        let admitted = match admit(&self.api, &self.audience, &parts, target, id).await {
            Ok(admitted) => admitted,
            Err(response) => {
                let response = self.api.trail.refused(response, id, self.source(via.peer));
                return self.let_go(body, &parts, response);
            }
        };
        if let Some(most) = self.own_header_limit(&admitted)
            && head_bytes(&parts) > most
        {
            self.api.refusals.count(Refusal::HeaderBytes);
            let response = own_head(most).encode(admitted.service(), &id.to_string());
            return self.let_go(body, &parts, closing(response));
        }
        let peer = self.audience.peer(via.peer);
        let (body, held) = match self.read(&mut body, head, &admitted, &peer).await {
            Ok(read) => read,
            Err(error) => {
                match error {
                    ReadBodyError::TooLarge { .. } => self.api.refusals.count(Refusal::BodyBytes),
                    ReadBodyError::Busy(_) => self.api.refusals.count(Refusal::BytesInFlight),
                    ReadBodyError::Stalled | ReadBodyError::Broken => {}
                }
                let response = refuse_body(&error, &admitted, &parts, &id.to_string());
                return match error {
                    ReadBodyError::TooLarge { .. } | ReadBodyError::Busy(_) => {
                        self.let_go(body, &parts, response)
                    }
                    ReadBodyError::Stalled | ReadBodyError::Broken => closing(response),
                };
            }
        };
        let free_bytes = match parts.version {
            Version::HTTP_2 => MULTIPLEXED_FREE_BYTES,
            _ => ANSWER_FREE_BYTES,
        };
        let request = Request {
            parts,
            body,
            id,
            peer: via.peer,
            port: via.port,
            is_secure: via.is_secure,
            tls: via.tls,
            caller: self.audience.caller(),
            held: Some(held),
        };
        let response = self.dispatch(request, &admitted, seat, &peer).await;
        self.booked(response, &admitted, free_bytes, &peer)
    }

    /// An answer beyond `free_bytes` counts until its client has taken it.
    fn booked(
        &self,
        mut response: Response<Bytes>,
        admitted: &Admitted,
        free_bytes: usize,
        peer: &Peer,
    ) -> Response<Bytes> {
        if response.body().len() > free_bytes {
            let answer = std::mem::take(response.body_mut());
            let standing = response.extensions_mut().remove::<Standing>();
            let held = admitted.book(&self.api, &self.audience, peer);
            let (answer, untaken) = held.keep(answer, standing);
            *response.body_mut() = answer;
            response.extensions_mut().insert(untaken);
        }
        response
    }

    async fn read(
        &self,
        body: &mut Incoming,
        head: u64,
        admitted: &Admitted,
        peer: &Peer,
    ) -> Result<(Bytes, HeldBytes), ReadBodyError> {
        let mut held = admitted.book(&self.api, &self.audience, peer);
        // It may bring nothing, whatever its head says, and ask for much.
        if admitted.runs_a_function() {
            held.has_room()?;
        }
        held.hold_head(head)?;
        if body.is_end_stream() {
            return Ok((Bytes::new(), held));
        }
        let limit = admitted.body_limit(&self.api, &self.audience);
        let read = read_body(body, limit, &mut held).await?;
        Ok((read, held))
    }

    /// The header limit of the tenant that the head names, where it has one of its own.
    fn own_header_limit(&self, admitted: &Admitted) -> Option<u64> {
        let state = self.api.tenants.of(admitted.tenant()?)?;
        state.limits().own(TenantLimit::Header)
    }

    /// What a tenant is answered, in the shape of `service`, that may not make one more request now, on
    /// this connection.
    fn beyond(
        &self,
        tenant: &TenantId,
        seat: &Seat,
        (service, id): (Service, InvocationId),
    ) -> Option<Response<Bytes>> {
        let tenants = &self.api.tenants;
        if matches!(self.audience, Audience::Everybody)
            && let Err(most) = seat.take(tenants, tenant)
        {
            self.api.refusals.count(Refusal::Connections);
            let error = too_many_connections(most);
            return Some(closing(error.encode(service, &id.to_string())));
        }
        let over = tenants.request(tenant, self.api.clock.now()).err()?;
        self.api.refusals.count(Refusal::Requests);
        let error = too_many_requests(over, "requests", TenantLimit::Requests);
        Some(error.encode(service, &id.to_string()))
    }

    /// What a tenant is answered that has called operations as often as it may now, in this region. What
    /// the operator asks of Freehold itself has no rate: a backup comes in pieces, and who manages
    /// thousands of accounts does so in a row.
    fn too_often(
        &self,
        head: &SignedHead,
        request: &Request,
        signer: &Signer,
    ) -> Option<Response<Bytes>> {
        if head.invokes {
            return None;
        }
        // An instance may manage nothing: it is denied, told so and counted in the trail, and takes nothing
        // of what its owner needs to stop it.
        if matches!(signer.principal, Principal::Instance { .. }) {
            return None;
        }
        let (api, tenant) = (&self.api, signer.principal.tenant()?);
        if matches!(head.api, SignedApi::Own(_)) && *tenant == api.operator {
            return None;
        }
        let rate = CallRate::of(&head.api, &request.parts)?;
        let (place, now) = ((tenant, &signer.region), api.clock.now());
        let taken = api
            .call_rates
            .take(rate, place, now, &api.limits_of(tenant));
        let over = taken.err()?;
        api.refusals.count(rate.refusal());
        let error = match (rate, rate.limit()) {
            // In the words that the clients of Logs know.
            (CallRate::LogsChanges, _) => common::throttling(),
            (_, Some(limit)) => too_many_requests(over, rate.about(), limit),
            (_, None) => too_many_of(over, rate.about(), ""),
        };
        Some(error.encode(head.api.service(), &request.id.to_string()))
    }

    async fn dispatch(
        &self,
        request: Request,
        admitted: &Admitted,
        seat: &Seat,
        peer: &Peer,
    ) -> Response<Bytes> {
        let (api, invoker) = (&self.api, self.invoker.clone());
        let (id, source) = (request.id, self.source(request.peer));
        let head = match admitted {
            Admitted::Url(call) => {
                let tenant = &call.resolved.function.tenant;
                if let Some(response) = self.beyond(tenant, seat, (Service::Lambda, id)) {
                    return response;
                }
                let peer = peer.clone();
                let response = crate::urls::serve(api, invoker, request, call, peer).await;
                return api.trail.refused(response, id, source);
            }
            Admitted::Signed(head) => head,
        };
        let signer = match head.verify(api, &request, &self.audience) {
            Ok(signer) => signer,
            Err(error) => {
                let mut response = error.encode(head.api.service(), &id.to_string());
                let forged = crate::audit::forged(head, &request);
                response.extensions_mut().insert(forged);
                return api.trail.refused(response, id, source);
            }
        };
        let mut watched = Watched::proven(&api.trail, head, &request, source);
        // Who could not raise its own limit any more would have locked itself out.
        let is_operators = matches!(head.api, SignedApi::Own(_))
            && signer.principal.tenant() == Some(&api.operator);
        if let Some(tenant) = signer.principal.tenant().filter(|_| !is_operators)
            && let Some(response) = self.beyond(tenant, seat, (head.api.service(), id))
        {
            return watched.ends(response);
        }
        if let Some(response) = self.too_often(head, &request, &signer) {
            return watched.ends(response);
        }
        if watched.takes_room() && api.disk.refuses() {
            let error = common::service_unavailable(NEARLY_FULL);
            return watched.ends(error.encode(head.api.service(), &id.to_string()));
        }
        watched.begins();
        let response = match &head.api {
            SignedApi::Lambda => crate::lambda::serve(api, invoker, request, signer).await,
            // Boxed, as all that runs no function is: the room for the largest of them would be
            // carried, and copied, with every call.
            SignedApi::Logs => Box::pin(crate::logs::serve(api, request, signer)).await,
            SignedApi::Sts => crate::sts::serve(&request, &signer),
            SignedApi::Own(operation) => {
                Box::pin(crate::own::serve(api, &request, &signer, operation)).await
            }
        };
        watched.ends(response)
    }

    /// Where a request came from, for the audit trail.
    fn source(&self, peer: IpAddr) -> Source {
        match self.audience {
            Audience::Everybody => Some(peer),
            Audience::Instance(_) => None,
        }
    }

    /// An answer that does not wait for the body. What of it is still to come is thrown away
    /// beside the answer, unless the sender waits to be asked for it.
    fn let_go(
        &self,
        mut body: Incoming,
        parts: &Parts,
        response: Response<Bytes>,
    ) -> Response<Bytes> {
        // Of many on one connection, one can be left alone.
        if body.is_end_stream() || parts.version == Version::HTTP_2 {
            return response;
        }
        if !parts.headers.contains_key(header::EXPECT) {
            let rest = async move { while let Some(Ok(_)) = body.frame().await {} };
            let rest = tokio::time::timeout(LINGER_MAX, rest);
            tokio::spawn(self.api.running.track_future(rest));
        }
        closing(response)
    }
}

/// Says that the connection cannot be used again, since what is left of a body is not read.
pub(crate) fn closing(mut response: Response<Bytes>) -> Response<Bytes> {
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Puts the host of a target in absolute form, or of HTTP/2, where everybody looks for it, and
/// leaves the target as path and query.
fn host_from_target(parts: &mut Parts) {
    let target = std::mem::take(&mut parts.uri).into_parts();
    if let Some(path_and_query) = target.path_and_query {
        parts.uri = Uri::from(path_and_query);
    }
    let authority = target.authority.as_ref().map(|one| one.as_str());
    let host = authority.and_then(|host| HeaderValue::from_str(host).ok());
    if let Some(host) = host.filter(|host| parts.headers.get(header::HOST) != Some(host)) {
        // Beside another one it makes two, which are refused.
        parts.headers.append(header::HOST, host);
    }
}

/// What is wrong with the host that a request names.
fn wrong_host(parts: &Parts, via: Via) -> Option<ApiError> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let first = hosts.next();
    if hosts.next().is_some() {
        let text = "The request names more than one host.";
        return Some(ApiError::new("BadRequest", 400, text));
    }
    if via.names_us {
        return None;
    }
    let Some(host) = first else {
        return Some(ApiError::new(
            "BadRequest",
            400,
            "The request names no host.",
        ));
    };
    let host: String = String::from_utf8_lossy(host.as_bytes())
        .chars()
        .take(HOST_TOLD_MAX)
        .collect();
    let text = format!(
        "This server is not known as {host:?}. If the name is its own, its operator adds it to server.hosts of freehold.toml."
    );
    Some(ApiError::new("MisdirectedRequest", 421, text))
}

fn no_tunnel() -> ApiError {
    ApiError::new("MethodNotAllowed", 405, "There is no tunnel here.")
}

/// A peer address for what comes out of an instance.
pub const GUEST_PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a head takes. The connection's buffer bounds it too, but only to about twice the limit:
/// its size is looked at between reads.
pub(crate) fn head_bytes(parts: &Parts) -> u64 {
    let headers = parts.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    (headers + target) as u64
}

fn service_of(target: &Target) -> Service {
    match target {
        Target::Logs => Service::Logs,
        Target::Sts => Service::Sts,
        _ => Service::Lambda,
    }
}

fn refuse_head(target: &Target, id: &str) -> Response<Bytes> {
    let text = "The request's line and headers are too long.";
    let mut response =
        ApiError::new("RequestHeaderFieldsTooLarge", 431, text).encode(service_of(target), id);
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    closing(response)
}

fn own_head(most: u64) -> ApiError {
    let raise = TenantLimit::Header.raise();
    let text = format!(
        "The request's line and headers are over the account's limit of {most} bytes; {raise}."
    );
    ApiError::new("RequestHeaderFieldsTooLarge", 431, text)
}

fn too_many_requests(over: OverRate, what: &str, limit: TenantLimit) -> ApiError {
    too_many_of(over, what, &format!("; {}", limit.raise()))
}

fn too_many_of(over: OverRate, what: &str, raise: &str) -> ApiError {
    let OverRate { per_s, wait } = over;
    let text = format!("Rate Exceeded. The account may make {per_s} {what} in a second{raise}.");
    let wait_s = wait.as_secs_f64().ceil().max(1.0) as u32;
    error::too_many_requests(text)
        .with_reason("CallerRateLimitExceeded")
        .with_retry_after_s(wait_s)
}

fn too_many_connections(most: u64) -> ApiError {
    let raise = TenantLimit::Connections.raise();
    let text =
        format!("Rate Exceeded. The account may have {most} connections at a time; {raise}.");
    error::too_many_requests(text)
        .with_reason("CallerRateLimitExceeded")
        .with_retry_after_s(1)
}

fn refuse_body(
    error: &ReadBodyError,
    admitted: &Admitted,
    parts: &Parts,
    id: &str,
) -> Response<Bytes> {
    let answer = match error {
        ReadBodyError::TooLarge { limit_bytes } => {
            // Lambda's own name for Invoke, which its model does not have.
            let operation = match crate::lambda::operation_name(parts) {
                Some("Invoke") => "InvokeFunction",
                other => other.unwrap_or("requested"),
            };
            common::request_too_large(format!(
                "Request must be smaller than {limit_bytes} bytes for the {operation} operation"
            ))
        }
        ReadBodyError::Busy(_) => {
            ApiError::new("ServiceUnavailableException", 503, error.to_string())
                .with_retry_after_s(1)
        }
        ReadBodyError::Stalled => ApiError::new("RequestTimeoutException", 408, error.to_string()),
        ReadBodyError::Broken => {
            ApiError::new("InvalidRequestContentException", 400, error.to_string())
        }
    };
    answer.encode(admitted.service(), id)
}
