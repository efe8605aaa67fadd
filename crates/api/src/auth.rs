//! Signatures at the edge: who signed, or AWS's words for why not.

use crate::request::Request;
use freehold_domain::{Principal, Region};
use freehold_identity::{
    AuthError, Presented, Verifier,
    sigv4::{Claim, PathEncoding, Scope},
};
use freehold_wire::{ApiError, common};
use http::request::Parts;

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

/// What the head of a request for `service` shows of its signer: the body may be read for it.
///
/// Errors: [`AuthError`]; `Missing` for a request that is not signed.
pub fn check_head(
    verifier: &Verifier,
    parts: &Parts,
    service: &'static str,
) -> Result<(Presented, Claim), AuthError> {
    let presented = Presented::read(parts)?.ok_or(AuthError::Missing)?;
    let claim = verifier.check_head(parts, &presented, scope(service))?;
    Ok((presented, claim))
}

/// Who signed a request whose head was checked and whose body is there.
///
/// Errors: [`AuthError`].
pub fn verify(
    verifier: &Verifier,
    request: &Request,
    presented: &Presented,
    service: &'static str,
) -> Result<Signer, AuthError> {
    let principal = verifier.verify(&request.parts, presented, &request.body, scope(service))?;
    let wrong = |_| AuthError::WrongRegion {
        region: presented.region.clone(),
    };
    let region = presented.region.parse().map_err(wrong)?;
    Ok(Signer { principal, region })
}

fn scope(service: &'static str) -> Scope<'static> {
    Scope {
        service,
        path: PathEncoding::Twice,
    }
}

/// The answer that AWS gives, in its words.
pub fn explain(error: AuthError, service: &str) -> ApiError {
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
        AuthError::Expired {
            signed,
            skew_s: 0,
            now,
        } => common::invalid_signature(format!(
            "Signature expired: {signed} is now earlier than {now}"
        )),
        AuthError::Expired {
            signed,
            skew_s,
            now,
        } => common::invalid_signature(format!(
            "Signature expired: {signed} is now earlier than {} ({now} - 5 min.)",
            freehold_identity::sigv4::Timestamp::from_seconds(now.seconds - skew_s)
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
