//! Links to a function's package, as GetFunction gives them: good for ten minutes, for whoever has
//! one.

use crate::{Api, in_flight::Bringer};
use bytes::Bytes;
use freehold_domain::{Digest, Principal, TenantId, Wall};
use http::{HeaderValue, Response, StatusCode, header};
use ring::{hmac, rand::SystemRandom};
use std::time::Duration;

/// Life of a link.
const LINK_LIFE: Duration = Duration::from_secs(600);

/// Makes and checks links with a key that lives as long as the process.
pub(crate) struct CodeLinks {
    key: hmac::Key,
}

impl CodeLinks {
    pub(crate) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the kernel's random source does not fail once seeded");
        Self { key }
    }

    /// A link below `/_freehold/code/`; `base` is how the caller reached the server.
    pub(super) fn link(&self, base: &str, tenant: &TenantId, digest: Digest, now: Wall) -> String {
        let until = (now + LINK_LIFE).millis();
        let what = format!("{tenant}/{digest}/{until}");
        let tag = hex::encode(hmac::sign(&self.key, what.as_bytes()));
        format!("{base}/_freehold/code/{what}/{tag}")
    }

    /// Whose package a link is for; `None` for one that we never made or that is too old.
    fn check(&self, path: &str, now: Wall) -> Option<(TenantId, Digest)> {
        let (what, tag) = path.rsplit_once('/')?;
        hmac::verify(&self.key, what.as_bytes(), &hex::decode(tag).ok()?).ok()?;
        let mut parts = what.split('/');
        let (tenant, digest, until) = (parts.next()?, parts.next()?, parts.next()?);
        if until.parse::<i64>().ok()? < now.millis() {
            return None;
        }
        Some((tenant.parse().ok()?, digest.parse().ok()?))
    }
}

/// Answers a link. `path` is what stands behind `/_freehold/code/`.
pub(crate) async fn serve(api: &Api, path: &str) -> Response<Bytes> {
    let refuse = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(Bytes::from_static(text.as_bytes()));
        *response.status_mut() = status;
        response
    };
    let Some((tenant, digest)) = api.code_links.check(path, api.clock.wall()) else {
        return refuse(
            StatusCode::FORBIDDEN,
            "the link is not valid or not valid any more\n",
        );
    };
    if api.verifier.bars(&tenant) {
        return refuse(StatusCode::FORBIDDEN, "the account is disabled\n");
    }
    let who = Principal::platform("code-links");
    let booking = || api.in_flight.book(Bringer::Key(&tenant), None);
    // How large it is is known once it is there.
    let mut largest = booking();
    if largest.grow_to(api.limits.now().package_zip_bytes).is_err() {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many bytes are on their way: ask again\n",
        );
    }
    match freehold_domain::ports::Blobs::get(&*api.storage, &who, &tenant, digest).await {
        Ok(Some(zip)) => {
            drop(largest);
            let (zip, untaken) = booking().keep(zip);
            let mut response = Response::new(zip);
            response.extensions_mut().insert(untaken);
            let kind = HeaderValue::from_static("application/zip");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Ok(None) => refuse(StatusCode::NOT_FOUND, "the package is gone\n"),
        Err(error) => {
            tracing::error!(%error, "a package could not be read");
            refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the package could not be read\n",
            )
        }
    }
}
