//! Whether a request is signed by the key that it names.

use super::{
    AuthError, Location, PathEncoding, Presented, SKEW_MAX_S, Timestamp, UNSIGNED_PAYLOAD,
    canonical::{canonical_request, sha256_hex},
    sign::{signing_key, string_to_sign},
};
use crate::keyring::{KeyEntry, KeySource};
use freehold_domain::{Principal, Region, TenantId, ports::Clock};
use http::request::Parts;
use parking_lot::Mutex;
use ring::hmac;
use std::{collections::HashMap, sync::Arc};

/// Signing keys that are kept: one per secret, day, region and service in use.
const KEYS_CACHED_MAX: usize = 4096;

/// What the called API expects of a credential's scope.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The service's signing name, `lambda`.
    pub service: &'a str,
    /// How its path enters the canonical form.
    pub path: PathEncoding,
}

/// What a head claims of its signer, looked up and not proven yet.
pub struct Claim {
    entry: Arc<KeyEntry>,
}

impl Claim {
    /// Whom the key signs for that the head names. Whether the sender holds that key only
    /// [`Verifier::verify`] tells: enough to count bytes by, never to answer by.
    pub fn principal(&self) -> &Principal {
        &self.entry.principal
    }
}

/// Verifies requests against keys in memory. Never waits.
pub struct Verifier {
    keys: Arc<dyn KeySource>,
    clock: Arc<dyn Clock>,
    regions: Vec<Region>,
    cached: Mutex<HashMap<(String, String, String, String), hmac::Key>>,
}

impl Verifier {
    /// `regions` are those that a scope may name.
    pub fn new(keys: Arc<dyn KeySource>, clock: Arc<dyn Clock>, regions: Vec<Region>) -> Self {
        Self {
            keys,
            clock,
            regions,
            cached: Mutex::default(),
        }
    }

    /// What the head alone tells, so that a body is read only for a key that exists, a scope that
    /// is served and a time that is now.
    ///
    /// Whether a key exists is no secret, here as on AWS: the error's own name tells it.
    /// Errors: [`AuthError`], each as [`Verifier::verify`] would have it, but that a signature that
    /// is both too old and wrong is too old.
    pub fn check_head(
        &self,
        parts: &Parts,
        presented: &Presented,
        scope: Scope<'_>,
    ) -> Result<Claim, AuthError> {
        self.check_scope(presented, scope)?;
        let entry = self
            .keys
            .lookup(&presented.access_key_id)
            .filter(|entry| self.may_sign(entry, presented))
            .ok_or(AuthError::UnknownKey)?;
        match (said_hash(parts), presented.location) {
            (Some(UNSIGNED_PAYLOAD), Location::Query { .. }) => {}
            (Some(said), _) if !is_sha256_hex(said) => return Err(AuthError::Mismatch),
            _ => {}
        }
        self.check_time(presented)?;
        Ok(Claim { entry })
    }

    /// Whether a key is in force and comes with its token.
    fn may_sign(&self, entry: &KeyEntry, presented: &Presented) -> bool {
        let token = match (&entry.token, &presented.token) {
            (None, None) => true,
            (Some(held), Some(shown)) => same(held, shown),
            _ => false,
        };
        let live = entry.ends.is_none_or(|end| !end.is_over(&*self.clock));
        let barred = entry.principal.tenant().is_some_and(|of| self.bars(of));
        entry.enabled && token && live && !barred
    }

    /// Whether a tenant is disabled, and with it everything of it that needs no signature.
    pub fn bars(&self, tenant: &TenantId) -> bool {
        self.keys.bars(tenant)
    }

    /// The principal that signed `parts` with `body`.
    ///
    /// An unknown key takes the same steps as a wrong secret, so that the time taken tells nothing.
    /// A repeat inside the window is accepted, as on AWS.
    /// Errors: [`AuthError`].
    pub fn verify(
        &self,
        parts: &Parts,
        presented: &Presented,
        body: &[u8],
        scope: Scope<'_>,
    ) -> Result<Principal, AuthError> {
        self.check_scope(presented, scope)?;
        let entry = self.keys.lookup(&presented.access_key_id);
        let known = entry.is_some();
        let entry = entry.unwrap_or_else(|| Arc::new(KeyEntry::nobody()));
        let payload = payload_hash(parts, presented, body)?;
        let canonical = canonical_request(
            parts.method.as_str(),
            &parts.uri,
            &parts.headers,
            &presented.signed_headers,
            &payload,
            scope.path,
            &["X-Amz-Signature"],
        );
        let text = string_to_sign(
            &presented.signed,
            &presented.day,
            &presented.region,
            &presented.service,
            &canonical,
        );
        let key = self.signing_key(&entry, presented);
        let offered = hex::decode(&presented.signature).unwrap_or_default();
        // ring compares in constant time.
        let matches = hmac::verify(&key, text.as_bytes(), &offered).is_ok();
        if !self.may_sign(&entry, presented) || !known {
            return Err(AuthError::UnknownKey);
        }
        if !matches {
            return Err(AuthError::Mismatch);
        }
        self.check_time(presented)?;
        Ok(entry.principal.clone())
    }

    fn check_scope(&self, presented: &Presented, scope: Scope<'_>) -> Result<(), AuthError> {
        if !self
            .regions
            .iter()
            .any(|region| region.as_str() == presented.region)
        {
            return Err(AuthError::WrongRegion {
                region: presented.region.clone(),
            });
        }
        if presented.service != scope.service {
            return Err(AuthError::WrongService {
                service: presented.service.clone(),
                expected: scope.service.to_owned(),
            });
        }
        if presented.day != presented.signed.day() {
            return Err(AuthError::WrongScope {
                reason: format!(
                    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}', from '{}'.",
                    presented.day,
                    presented.signed.day(),
                    presented.signed
                ),
            });
        }
        Ok(())
    }

    fn check_time(&self, presented: &Presented) -> Result<(), AuthError> {
        let now = self.clock.wall().millis() / 1000;
        let signed = presented.signed.seconds;
        let (says, skew_s) = match presented.location {
            Location::Header => (signed, SKEW_MAX_S),
            Location::Query { expires_s } => (signed + i64::from(expires_s), 0),
        };
        if now > says + skew_s {
            return Err(AuthError::Expired {
                signed: Timestamp::from_seconds(says),
                skew_s,
                now: Timestamp::from_seconds(now),
            });
        }
        if signed > now + SKEW_MAX_S {
            return Err(AuthError::NotYetCurrent {
                signed: presented.signed.clone(),
                now: Timestamp::from_seconds(now),
            });
        }
        Ok(())
    }

    fn signing_key(&self, entry: &KeyEntry, presented: &Presented) -> hmac::Key {
        let name = (
            entry.secret.clone(),
            presented.day.clone(),
            presented.region.clone(),
            presented.service.clone(),
        );
        let mut cached = self.cached.lock();
        if let Some(key) = cached.get(&name) {
            return key.clone();
        }
        let key = signing_key(&name.0, &name.1, &name.2, &name.3);
        // Days pass and sessions end: starting over is simpler than ageing, and rare.
        if cached.len() >= KEYS_CACHED_MAX {
            cached.clear();
        }
        cached.insert(name, key.clone());
        key
    }
}

/// Compares without telling by the time taken where the texts differ.
pub(crate) fn same(held: &str, shown: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"token");
    hmac::verify(
        &key,
        held.as_bytes(),
        hmac::sign(&key, shown.as_bytes()).as_ref(),
    )
    .is_ok()
}

/// The hash of the body that the head announces.
fn said_hash(parts: &Parts) -> Option<&str> {
    parts.headers.get("x-amz-content-sha256")?.to_str().ok()
}

fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The hash that the signature must cover: of the body as it arrived. A header that says otherwise
/// is a changed body; `UNSIGNED-PAYLOAD` is believed in the presigned form alone.
fn payload_hash(parts: &Parts, presented: &Presented, body: &[u8]) -> Result<String, AuthError> {
    let actual = sha256_hex(body);
    match (said_hash(parts), presented.location) {
        (Some(UNSIGNED_PAYLOAD), Location::Query { .. }) => Ok(UNSIGNED_PAYLOAD.to_owned()),
        (Some(said), _) if !said.eq_ignore_ascii_case(&actual) => Err(AuthError::Mismatch),
        _ => Ok(actual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keyring::Ends,
        sigv4::{Credentials, sign},
    };
    use freehold_domain::{BoxFuture, Mono, Wall};
    use http::{Method, Request};

    struct At(i64);
    impl Clock for At {
        fn now(&self) -> Mono {
            Mono(0)
        }
        fn wall(&self) -> Wall {
            Wall::from_millis(self.0 * 1000)
        }
        fn sleep_until(&self, _: Mono) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    struct OneKey;
    impl KeySource for OneKey {
        fn lookup(&self, id: &str) -> Option<Arc<KeyEntry>> {
            let entry = |id: &str| KeyEntry {
                secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
                principal: Principal::Root {
                    tenant: match id {
                        "AKIDBARRED" => "222222222222".parse().unwrap(),
                        _ => "111111111111".parse().unwrap(),
                    },
                    key: id.to_owned(),
                },
                token: None,
                enabled: id != "AKIDDISABLED",
                ends: (id == "AKIDENDS").then(|| Ends::On(Wall::from_millis(NOW * 1000))),
            };
            (id != "AKIDNOBODY").then(|| Arc::new(entry(id)))
        }
        fn bars(&self, tenant: &TenantId) -> bool {
            tenant.as_str() == "222222222222"
        }
    }

    const NOW: i64 = 1_440_938_160;
    const LAMBDA: Scope<'_> = Scope {
        service: "lambda",
        path: PathEncoding::Twice,
    };

    fn verifier(now: i64) -> Verifier {
        Verifier::new(
            Arc::new(OneKey),
            Arc::new(At(now)),
            vec!["us-east-1".parse().unwrap()],
        )
    }

    fn request(uri: &str) -> Parts {
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header("host", "127.0.0.1:7070")
            .header("content-type", "application/json");
        request.body(()).unwrap().into_parts().0
    }

    fn signed(uri: &str, key: &str, secret: &str, body: &[u8]) -> Parts {
        let mut parts = request(uri);
        let credentials = Credentials {
            access_key_id: key.into(),
            secret: secret.into(),
            token: None,
        };
        sign(
            &mut parts,
            body,
            &credentials,
            "us-east-1",
            "lambda",
            &Timestamp::from_seconds(NOW),
        )
        .unwrap();
        parts
    }

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const URI: &str = "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations?b=2&a=%20x";

    fn outcome(parts: &Parts, body: &[u8], now: i64) -> Result<Principal, AuthError> {
        let presented = Presented::read(parts)?.ok_or(AuthError::Missing)?;
        verifier(now).verify(parts, &presented, body, LAMBDA)
    }

    #[test]
    fn what_was_signed_is_accepted_within_five_minutes() {
        let parts = signed(URI, "AKIDEXAMPLE", SECRET, b"{}");
        assert!(outcome(&parts, b"{}", NOW).is_ok());
        assert!(outcome(&parts, b"{}", NOW + 300).is_ok());
        assert!(matches!(
            outcome(&parts, b"{}", NOW + 301),
            Err(AuthError::Expired { .. })
        ));
        assert!(matches!(
            outcome(&parts, b"{}", NOW - 301),
            Err(AuthError::NotYetCurrent { .. })
        ));
    }

    #[test]
    fn a_change_anywhere_is_refused() {
        let good = || signed(URI, "AKIDEXAMPLE", SECRET, b"{}");
        let check = |change: fn(&mut Parts), expected: AuthError| {
            let mut parts = good();
            change(&mut parts);
            assert_eq!(outcome(&parts, b"{}", NOW), Err(expected));
        };
        assert_eq!(outcome(&good(), b"{} ", NOW), Err(AuthError::Mismatch));
        check(
            |p| {
                p.uri = "/2015-03-31/functions/other/invocations?b=2&a=%20x"
                    .parse()
                    .unwrap()
            },
            AuthError::Mismatch,
        );
        check(
            |p| p.uri = format!("{URI}&c=1").parse().unwrap(),
            AuthError::Mismatch,
        );
        check(|p| p.method = Method::GET, AuthError::Mismatch);
        check(
            |p| {
                p.headers.insert("host", "evil".parse().unwrap());
            },
            AuthError::Mismatch,
        );
        check(
            |p| {
                p.headers
                    .insert("content-type", "text/plain".parse().unwrap());
            },
            AuthError::Mismatch,
        );
        check(
            |p| {
                p.headers
                    .insert("x-amz-date", "20150830T123601Z".parse().unwrap());
            },
            AuthError::Mismatch,
        );
    }

    #[test]
    fn an_unknown_key_a_wrong_secret_and_a_wrong_scope_each_have_their_error() {
        let parts = signed(URI, "AKIDNOBODY", SECRET, b"{}");
        assert_eq!(outcome(&parts, b"{}", NOW), Err(AuthError::UnknownKey));
        let parts = signed(URI, "AKIDEXAMPLE", "wrong", b"{}");
        assert_eq!(outcome(&parts, b"{}", NOW), Err(AuthError::Mismatch));
        let mut parts = signed(URI, "AKIDEXAMPLE", SECRET, b"{}");
        let other = parts.headers["authorization"]
            .to_str()
            .unwrap()
            .replace("us-east-1", "eu-west-1");
        parts
            .headers
            .insert("authorization", other.parse().unwrap());
        assert!(matches!(
            outcome(&parts, b"{}", NOW),
            Err(AuthError::WrongRegion { .. })
        ));
        let mut parts = signed(URI, "AKIDEXAMPLE", SECRET, b"{}");
        let other = parts.headers["authorization"]
            .to_str()
            .unwrap()
            .replace("/lambda/", "/s3/");
        parts
            .headers
            .insert("authorization", other.parse().unwrap());
        assert!(matches!(
            outcome(&parts, b"{}", NOW),
            Err(AuthError::WrongService { .. })
        ));
    }

    #[test]
    fn a_key_ends_at_its_time_and_a_disabled_tenants_signs_nothing() {
        let ends = signed(URI, "AKIDENDS", SECRET, b"{}");
        assert!(outcome(&ends, b"{}", NOW - 1).is_ok());
        assert_eq!(outcome(&ends, b"{}", NOW), Err(AuthError::UnknownKey));
        let barred = signed(URI, "AKIDBARRED", SECRET, b"{}");
        assert_eq!(outcome(&barred, b"{}", NOW), Err(AuthError::UnknownKey));
    }

    fn head(parts: &Parts, now: i64) -> Result<Principal, AuthError> {
        let presented = Presented::read(parts)?.ok_or(AuthError::Missing)?;
        let claim = verifier(now).check_head(parts, &presented, LAMBDA)?;
        Ok(claim.principal().clone())
    }

    #[test]
    fn a_head_tells_all_but_whether_the_signature_matches() {
        let good = || signed(URI, "AKIDEXAMPLE", SECRET, b"{}");
        assert_eq!(head(&good(), NOW), outcome(&good(), b"{}", NOW));
        assert_eq!(head(&request(URI), NOW), Err(AuthError::Missing));
        let with = |key| head(&signed(URI, key, SECRET, b"{}"), NOW);
        assert_eq!(with("AKIDNOBODY"), Err(AuthError::UnknownKey));
        assert_eq!(with("AKIDDISABLED"), Err(AuthError::UnknownKey));
        assert_eq!(with("AKIDBARRED"), Err(AuthError::UnknownKey));
        let changed = |name: &'static str, from: &str, to: &str| {
            let mut parts = good();
            let text = parts.headers[name].to_str().unwrap().replace(from, to);
            parts.headers.insert(name, text.parse().unwrap());
            head(&parts, NOW)
        };
        assert!(matches!(
            changed("authorization", "/lambda/", "/s3/"),
            Err(AuthError::WrongService { .. })
        ));
        assert!(matches!(
            changed("authorization", "us-east-1", "eu-west-1"),
            Err(AuthError::WrongRegion { .. })
        ));
        let hash = crate::sigv4::sha256_hex(b"{}");
        assert_eq!(
            changed("x-amz-content-sha256", &hash, UNSIGNED_PAYLOAD),
            Err(AuthError::Mismatch)
        );
        assert!(matches!(
            head(&good(), NOW + 301),
            Err(AuthError::Expired { .. })
        ));
        assert!(matches!(
            head(&good(), NOW - 301),
            Err(AuthError::NotYetCurrent { .. })
        ));
    }

    /// An independent signer makes the same signature of the same request.
    #[test]
    fn our_signature_is_the_one_that_another_signer_makes() {
        use aws_sigv4::http_request as peer;
        let ours = signed(URI, "AKIDEXAMPLE", SECRET, b"{}");
        let identity =
            aws_credential_types::Credentials::new("AKIDEXAMPLE", SECRET, None, None, "test")
                .into();
        let mut settings = peer::SigningSettings::default();
        settings.payload_checksum_kind = peer::PayloadChecksumKind::XAmzSha256;
        let params = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("lambda")
            .time(std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW as u64))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let uri = format!("http://127.0.0.1:7070{URI}");
        let headers = [("content-type", "application/json")];
        let signable = peer::SignableRequest::new(
            "POST",
            &uri,
            headers.into_iter(),
            peer::SignableBody::Bytes(b"{}"),
        )
        .unwrap();
        let theirs = peer::sign(signable, &params).unwrap();
        let ours = ours.headers["authorization"].to_str().unwrap();
        assert!(
            ours.ends_with(theirs.signature()),
            "{ours} against {}",
            theirs.signature()
        );
    }

    proptest::proptest! {
        #[test]
        fn no_authorization_header_panics(text in "\\PC{0,200}", query in "[ -~]{0,100}") {
            let mut parts = request("/");
            if let Ok(value) = http::HeaderValue::from_str(&text) {
                parts.headers.insert("authorization", value);
            }
            let _ = Presented::read(&parts);
            let _ = super::super::present::Presented::read(&{
                let mut parts = request("/");
                if let Ok(uri) = format!("/?X-Amz-Signature={query}").parse() { parts.uri = uri; }
                parts
            });
        }
    }
}
