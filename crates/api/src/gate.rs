//! What the head of a request must show before its body is read.
//!
//! Reading takes memory, and a stranger could take it all: so what the head alone decides is
//! answered from the head. It proves nothing. Whoever gets in here still has to be the one that it
//! says it is, which only the signature over the whole request tells.

use crate::{
    Api,
    audit::Refused,
    auth::{self, Signer},
    body::package_limit_bytes,
    front::Audience,
    in_flight::{Bringer, HeldBytes},
    request::Request,
    route::Api as Target,
    urls,
};
use bytes::Bytes;
use freehold_domain::{InvocationId, Principal, TenantId, answers::Peer};
use freehold_identity::{Presented, sigv4::Claim};
use freehold_wire::{ApiError, Service, common};
use http::{Response, StatusCode, request::Parts};

/// A request that may bring its body.
pub(crate) enum Admitted {
    /// For a function's URL.
    Url(urls::Admitted),
    /// For an API that takes signed requests only.
    Signed(SignedHead),
}

/// The APIs that take signed requests only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignedApi {
    Lambda,
    Logs,
    Sts,
    /// Our own, with the operation's name.
    Own(String),
}

impl SignedApi {
    /// The name that signatures are scoped to.
    fn signing_name(&self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Logs => "logs",
            Self::Sts => "sts",
            Self::Own(_) => "freehold",
        }
    }

    /// In whose shape errors are told.
    pub(crate) fn service(&self) -> Service {
        match self {
            Self::Logs => Service::Logs,
            Self::Sts => Service::Sts,
            Self::Lambda | Self::Own(_) => Service::Lambda,
        }
    }
}

/// A signed request's head, in order.
pub(crate) struct SignedHead {
    pub(crate) api: SignedApi,
    pub(crate) presented: Presented,
    /// Who the request says signed it.
    pub(crate) claim: Claim,
    /// Whether it runs a function.
    pub(crate) invokes: bool,
}

impl SignedHead {
    /// Who signed the request, now that all of it is there.
    ///
    /// Errors: the answer that AWS gives.
    pub(crate) fn verify(
        &self,
        api: &Api,
        request: &Request,
        audience: &Audience,
    ) -> Result<Signer, ApiError> {
        let service = self.api.signing_name();
        let signer = auth::verify(&api.verifier, request, &self.presented, service)
            .map_err(|error| auth::explain(error, service))?;
        check_audience(&signer.principal, audience)?;
        Ok(signer)
    }
}

/// Lets a request in, or answers it.
///
/// Errors: the answer, where the head is enough for one.
pub(crate) async fn admit(
    api: &Api,
    audience: &Audience,
    parts: &Parts,
    target: Target,
    id: InvocationId,
) -> Result<Admitted, Response<Bytes>> {
    let signed = match target {
        // What anybody may call, a guest may call too.
        Target::Url(target) => {
            let admitted = urls::admit(api, parts, target, id).await?;
            return Ok(Admitted::Url(admitted));
        }
        Target::Code(link) => {
            return Err(Box::pin(crate::lambda::serve_code(api, &link)).await);
        }
        Target::Credentials => match audience {
            Audience::Instance(guest) => {
                return Err(crate::credentials::serve(api, guest, parts));
            }
            // An operation that there is not.
            Audience::Everybody => SignedApi::Own("credentials".to_owned()),
        },
        Target::Unserved(service) => return Err(unserved(&service, &id.to_string())),
        Target::Lambda => SignedApi::Lambda,
        Target::Logs => SignedApi::Logs,
        Target::Sts => SignedApi::Sts,
        Target::Own(operation) => SignedApi::Own(operation),
    };
    let service = signed.service();
    match admit_signed(api, audience, parts, &signed) {
        Ok((presented, claim)) => Ok(Admitted::Signed(SignedHead {
            invokes: signed == SignedApi::Lambda && crate::lambda::is_invoke(parts),
            api: signed,
            presented,
            claim,
        })),
        Err(error) => {
            let mut response = error.encode(service, &id.to_string());
            let refused = Refused::at_head(&signed, parts);
            response.extensions_mut().insert(refused);
            Err(response)
        }
    }
}

fn admit_signed(
    api: &Api,
    audience: &Audience,
    parts: &Parts,
    signed: &SignedApi,
) -> Result<(Presented, Claim), ApiError> {
    let service = signed.signing_name();
    let (presented, claim) = auth::check_head(&api.verifier, parts, service)
        .map_err(|error| auth::explain(error, service))?;
    check_audience(claim.principal(), audience)?;
    if claim.principal().tenant().is_none() {
        return Err(common::access_denied(
            "The principal belongs to no account.",
        ));
    }
    Ok((presented, claim))
}

/// Whether a request may come through this listener: an instance's serves its own calls only.
fn check_audience(who: &Principal, audience: &Audience) -> Result<(), ApiError> {
    match (audience, who) {
        (Audience::Everybody, _) => Ok(()),
        (
            Audience::Instance(guest),
            Principal::Instance {
                instance: signer, ..
            },
        ) if *signer == guest.id => Ok(()),
        (Audience::Instance(_), _) => Err(common::access_denied(
            "This endpoint serves calls that are signed with the credentials of its own instance.",
        )),
    }
}

impl Admitted {
    /// The largest body that is taken. Packages arrive as base64 within JSON; no instance may
    /// deploy, so none sends any.
    pub(crate) fn body_limit(&self, api: &Api, audience: &Audience) -> u64 {
        let limits = &match self.tenant() {
            Some(tenant) => api.limits_of(tenant),
            None => api.limits.now(),
        };
        let (payload, package) = (limits.sync_payload_bytes, package_limit_bytes(limits));
        match self {
            Self::Url(_) => payload,
            Self::Signed(head) => match (&head.api, audience) {
                _ if head.invokes => payload,
                (SignedApi::Lambda, Audience::Everybody) => package,
                (SignedApi::Lambda, Audience::Instance(_)) => payload.min(package),
                _ => 1 << 20,
            },
        }
    }

    /// The tenant that the head names.
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Url(call) => Some(&call.resolved.function.tenant),
            Self::Signed(head) => head.claim.principal().tenant(),
        }
    }

    /// Whether the answer is a function's, as large as that likes.
    pub(crate) fn runs_a_function(&self) -> bool {
        match self {
            Self::Url(_) => true,
            Self::Signed(head) => head.invokes,
        }
    }

    /// A booking for the body or the answer, on the shares that the head names, of what `peer` calls.
    pub(crate) fn book(&self, api: &Api, audience: &Audience, peer: &Peer) -> HeldBytes {
        let bringer = match self {
            Self::Url(call) => Bringer::Url(&call.resolved.function.tenant, peer),
            Self::Signed(head) => match head.claim.principal().tenant() {
                Some(tenant) => Bringer::Key(tenant),
                None => return HeldBytes::nothing(),
            },
        };
        let instance = match audience {
            Audience::Everybody => None,
            Audience::Instance(guest) => Some(&guest.share),
        };
        api.in_flight.book(bringer, instance)
    }

    /// In whose shape errors are told.
    pub(crate) fn service(&self) -> Service {
        match self {
            Self::Url(_) => Service::Lambda,
            Self::Signed(head) => head.api.service(),
        }
    }
}

fn unserved(service: &str, id: &str) -> Response<Bytes> {
    let text = format!(
        "Freehold does not speak the API of service '{service}'; see the book, \"What is served\""
    );
    let mut response = ApiError::new("NotImplemented", 501, text).encode(Service::Sts, id);
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}
