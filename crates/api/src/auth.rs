//! Signatures at the edge: who signed, or AWS's words for why not.

use crate::request::Request;
use freehold_domain::{Principal, Region};
use freehold_identity::{
    AuthError, Presented, Verifier,
    sigv4::{PathEncoding, Scope},
};
use freehold_wire::{ApiError, common};

const MISMATCH: &str = "The request signature we calculated does not match the signature you \
    provided. Check your AWS Secret Access Key and signing method. Consult the service \
    documentation for details.";

/// Who signed a request, and for which region.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Who.
    pub principal: Principal,
    /// The region that the signature is scoped to: one of those configured.
    pub region: Region,
}

/// Who signed `request` for `service`.
///
/// Errors: the answer that AWS gives, in its words.
pub fn authenticate(
    verifier: &Verifier,
    request: &Request,
    service: &'static str,
) -> Result<Signer, ApiError> {
    verified(verifier, request, service).map_err(|error| explain(error, service))
}

/// The same for what may come unsigned: an unsigned request is anonymous.
///
/// Errors: as [`authenticate`]; a bad signature never counts as none.
pub fn authenticate_optional(
    verifier: &Verifier,
    request: &Request,
    service: &'static str,
) -> Result<Principal, ApiError> {
    match verified(verifier, request, service) {
        Err(AuthError::Missing) => Ok(Principal::Anonymous),
        other => other
            .map(|signer| signer.principal)
            .map_err(|error| explain(error, service)),
    }
}

fn verified(
    verifier: &Verifier,
    request: &Request,
    service: &'static str,
) -> Result<Signer, AuthError> {
    let presented = Presented::read(&request.parts)?.ok_or(AuthError::Missing)?;
    let scope = Scope {
        service,
        path: PathEncoding::Twice,
    };
    let principal = verifier.verify(&request.parts, &presented, &request.body, scope)?;
    let wrong = |_| AuthError::WrongRegion {
        region: presented.region.clone(),
    };
    let region = presented.region.parse().map_err(wrong)?;
    Ok(Signer { principal, region })
}

fn explain(error: AuthError, service: &str) -> ApiError {
    match error {
        AuthError::Missing => common::missing_authentication_token(),
        AuthError::Incomplete { reason } => common::incomplete_signature(reason),
        AuthError::BadDate { value } => common::incomplete_signature(format!(
            "Date must be in ISO-8601 'basic format'. Got '{value}'. See http://en.wikipedia.org/wiki/ISO_8601"
        )),
        AuthError::WrongRegion { .. } => {
            common::invalid_signature("Credential should be scoped to a valid region. ")
        }
        AuthError::WrongService { .. } => common::invalid_signature(format!(
            "Credential should be scoped to correct service: '{service}'. "
        )),
        AuthError::WrongScope { reason } => common::invalid_signature(reason),
        AuthError::Expired { signed, now } => common::invalid_signature(format!(
            "Signature expired: {signed} is now earlier than {} ({now} - 5 min.)",
            freehold_identity::sigv4::Timestamp::from_seconds(
                now.seconds - freehold_identity::sigv4::SKEW_MAX_S
            )
        )),
        AuthError::NotYetCurrent { signed, now } => common::invalid_signature(format!(
            "Signature not yet current: {signed} is still later than {} ({now} + 5 min.)",
            freehold_identity::sigv4::Timestamp::from_seconds(
                now.seconds + freehold_identity::sigv4::SKEW_MAX_S
            )
        )),
        AuthError::UnknownKey => common::unrecognized_client(),
        AuthError::Mismatch => common::invalid_signature(MISMATCH),
    }
}
