//! Links to a function's package, as GetFunction gives them: good for ten minutes, for whoever has
//! one.

use crate::{Api, audit::Refused, in_flight::Bringer, refusals::Refusal};
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

    /// The package that a link of ours is for, and until when; `None` for one that we never made.
    fn read(&self, path: &str) -> Option<(TenantId, Digest, i64)> {
        let (what, tag) = path.rsplit_once('/')?;
        hmac::verify(&self.key, what.as_bytes(), &hex::decode(tag).ok()?).ok()?;
        let mut parts = what.split('/');
        let (tenant, digest, until) = (parts.next()?, parts.next()?, parts.next()?);
        Some((
            tenant.parse().ok()?,
            digest.parse().ok()?,
            until.parse().ok()?,
        ))
    }

    /// The package that whoever has a link may have now.
    ///
    /// Errors: the answer to a link that we never made, that is too old, or whose tenant is `barred`,
    /// with what the audit trail tells of it.
    fn open(
        &self,
        path: &str,
        now: Wall,
        barred: impl Fn(&TenantId) -> bool,
    ) -> Result<(TenantId, Digest), Box<Response<Bytes>>> {
        let forbidden = |text, refused: Refused| {
            let mut response = plain(StatusCode::FORBIDDEN, text);
            response.extensions_mut().insert(refused);
            Box::new(response)
        };
        let Some((tenant, digest, until)) = self.read(path) else {
            return Err(forbidden(NOT_VALID, Refused::at_forged_link()));
        };
        if until < now.millis() {
            return Err(forbidden(NOT_VALID, Refused::at_link(&tenant, digest)));
        }
        if barred(&tenant) {
            let text = "the account is disabled\n";
            return Err(forbidden(text, Refused::at_link(&tenant, digest)));
        }
        Ok((tenant, digest))
    }
}

/// Whether it was made here and when is not for whoever has it to learn.
const NOT_VALID: &str = "the link is not valid or not valid any more\n";

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    response
}

/// Answers a link. `path` is what stands behind `/_freehold/code/`.
pub(crate) async fn serve(api: &Api, path: &str) -> Response<Bytes> {
    let barred = |tenant: &TenantId| api.verifier.bars(tenant);
    let (tenant, digest) = match api.code_links.open(path, api.clock.wall(), barred) {
        Ok(found) => found,
        Err(refused) => return *refused,
    };
    let who = Principal::platform("code-links");
    let booking = || api.in_flight.book(Bringer::Key(&tenant), None);
    // How large it is is known once it is there.
    let mut largest = booking();
    if largest.grow_to(api.limits.now().package_zip_bytes).is_err() {
        api.refusals.count(Refusal::BytesInFlight);
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many bytes are on their way: ask again\n",
        );
    }
    match freehold_domain::ports::Blobs::get(&*api.storage, &who, &tenant, digest).await {
        Ok(Some(zip)) => {
            drop(largest);
            let (zip, untaken) = booking().keep(zip, None);
            let mut response = Response::new(zip);
            response.extensions_mut().insert(untaken);
            let kind = HeaderValue::from_static("application/zip");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Ok(None) => plain(StatusCode::NOT_FOUND, "the package is gone\n"),
        Err(error) => {
            tracing::error!(%error, "a package could not be read");
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the package could not be read\n",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Trail;
    use freehold_domain::{
        InvocationId,
        audit::{Asker, AuditResult},
        ports::{Audit, AuditQuery},
    };
    use freehold_testkit::{sim::SimClock, storage::MemoryStorage};

    #[tokio::test]
    async fn a_link_that_is_refused_leaves_a_line_of_whose_package_it_is() {
        let now = Wall(1_795_000_000_000_000);
        let clock = SimClock::new(now);
        let store = MemoryStorage::new(clock.clone());
        let trail = Trail::new(store.clone(), clock);
        let links = CodeLinks::new();
        let tenant: TenantId = "111111111111".parse().unwrap();
        let digest = Digest([7; 32]);
        let link = links.link("http://h", &tenant, digest, now);
        let path = link.strip_prefix("http://h/_freehold/code/").unwrap();

        assert_eq!(
            links.open(path, now, |_| false).unwrap(),
            (tenant.clone(), digest)
        );
        let other = CodeLinks::new().link("", &tenant, digest, now);
        let other = other.strip_prefix("/_freehold/code/").unwrap();
        let late = now + LINK_LIFE + Duration::from_millis(1);
        for (path, at, barred) in [(path, now, true), (path, late, false), (other, now, false)] {
            let refused = links.open(path, at, |asked| barred && *asked == tenant);
            let refused = refused.unwrap_err();
            assert_eq!(refused.status(), StatusCode::FORBIDDEN);
            trail.refused(*refused, InvocationId(uuid::Uuid::nil()), None);
        }

        let who = Principal::platform("test");
        let query = AuditQuery {
            limit: 10,
            ..AuditQuery::default()
        };
        let lines = store.audit_lines(&who, query).await.unwrap().lines;
        let package = format!("package/{digest}");
        let told = |tenant: Option<&TenantId>, resource: &str| {
            (tenant.cloned(), resource.to_owned(), Asker::Nobody)
        };
        let found: Vec<_> = lines
            .iter()
            .map(|line| {
                assert_eq!(line.action.as_str(), "freehold:GetCode");
                assert_eq!((line.result, line.proven), (AuditResult::Denied, false));
                // Neither a link that may hold again, nor one that somebody made up.
                assert!(!format!("{line:?}").contains(path.rsplit_once('/').unwrap().1));
                (
                    line.tenant.clone(),
                    line.resource.to_string(),
                    line.who.clone(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                told(Some(&tenant), &package),
                told(Some(&tenant), &package),
                told(None, "")
            ]
        );
    }
}
