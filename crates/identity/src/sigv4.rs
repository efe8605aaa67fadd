//! AWS Signature Version 4, both ways: verified on what arrives, made for what our client sends.
//!
//! Verified: header and query ("presigned") forms. Refused: any other algorithm. The canonical
//! form is built once, in [`canonical`], from the bytes as they arrived. Source: AWS General
//! Reference, "Create a signed AWS API request"; decision 0008.

mod canonical;
mod present;
mod sign;
mod verify;

pub use canonical::{PathEncoding, sha256_hex};
pub use present::{Location, Presented, Timestamp};
pub use sign::{Credentials, sign};
pub(crate) use verify::same;
pub use verify::{Claim, Scope, Verifier};

/// Hash text that stands for "the payload is not signed".
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// Most headers that a signature may name.
pub const SIGNED_HEADERS_MAX: usize = 128;
/// How far the signer's clock may be off, seconds.
pub const SKEW_MAX_S: i64 = 300;
/// Longest life of a presigned request, seconds.
pub const EXPIRES_MAX_S: u32 = 604_800;

/// Why a request is not who it says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Nothing is signed at all.
    #[error("the request carries no signature")]
    Missing,
    /// The signature's parts are not all there or not well-formed.
    #[error("the signature is incomplete: {reason}")]
    Incomplete {
        /// What is missing or wrong.
        reason: String,
    },
    /// The date does not parse.
    #[error("the date {value:?} is not of the form yyyymmddThhmmssZ")]
    BadDate {
        /// As it came.
        value: String,
    },
    /// The scope names another region.
    #[error("the credential is scoped to region {region:?}")]
    WrongRegion {
        /// As it came.
        region: String,
    },
    /// The scope names another service.
    #[error("the credential is scoped to service {service:?}, not {expected}")]
    WrongService {
        /// As it came.
        service: String,
        /// What was called.
        expected: String,
    },
    /// The scope's date is not that of the request, or its terminator is not `aws4_request`.
    #[error("the credential scope is wrong: {reason}")]
    WrongScope {
        /// What about it.
        reason: String,
    },
    /// Signed too long ago.
    #[error("the signature of {signed} expired: it is {now} now, {skew_s} s are allowed")]
    Expired {
        /// When it was signed (or, presigned, when it ended).
        signed: Timestamp,
        /// How far clocks may be apart, seconds; none for what says itself when it ends.
        skew_s: i64,
        /// Now.
        now: Timestamp,
    },
    /// Signed in the future.
    #[error("the signature of {signed} is not yet current: it is {now} now")]
    NotYetCurrent {
        /// When it says it was signed.
        signed: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// The key is unknown or disabled, or the session has ended or shows another token.
    #[error("the access key or its token is not valid")]
    UnknownKey,
    /// The signature is not the one that this secret makes of this request.
    #[error("the signature does not match")]
    Mismatch,
}
