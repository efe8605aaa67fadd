//! What is served and what is refused, with its words.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::os::unix::fs::MetadataExt;

/// A folder of files, one by one.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, certificate: &str, key: &str) -> Result<Identity, CertificateError> {
        let of = |name: &str| self.0.path().join(name);
        Source::Files {
            certificate: of(certificate),
            key: of(key),
        }
        .read(&[])
    }

    #[track_caller]
    fn refused(&self, certificate: &str, key: &str, says: &str) {
        let error = self.read(certificate, key).unwrap_err();
        let text = chain(&error);
        assert!(text.contains(says), "{certificate} {key}: {text}");
        assert!(!text.contains("PRIVATE"), "{text}");
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2060, 1, 1);
    params
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = params(&[]);
    params.distinguished_name = Default::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params, KeyPair::generate().unwrap())
}

#[test]
fn a_chain_in_order_is_served_with_what_its_first_says() {
    let (files, names) = (
        Files::new(),
        ["api.example.org", "*.example.org", "10.0.0.5", "::1"],
    );
    let (above, above_key) = authority("above");
    let above_pem = above.self_signed(&above_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(above, above_key);
    let leaf = params(&names).signed_by(&key, &issuer).unwrap();
    files.put("chain.pem", format!("# ours\n{}{above_pem}", leaf.pem()));
    files.put("key.pem", key.serialize_pem());
    let found = files.read("chain.pem", "key.pem").unwrap();
    assert_eq!(found.names, names);
    assert_eq!(day(found.ends), "2060-01-01T00:00:00Z");
    assert_eq!(found.fingerprint, Fingerprint::of(leaf.der()));
    assert_eq!(
        found.config.alpn_protocols,
        [b"h2".to_vec(), b"http/1.1".to_vec()]
    );
    assert_eq!(found.http1.alpn_protocols, [b"http/1.1".to_vec()]);
    // One file with everything in it does.
    files.put("all.pem", format!("{}{}", key.serialize_pem(), leaf.pem()));
    assert!(files.read("all.pem", "all.pem").is_ok());
}

#[test]
fn what_clients_would_refuse_is_refused_in_words() {
    let files = Files::new();
    let ((above, above_key), (other, other_key)) = (authority("above"), authority("other"));
    let above_pem = above.self_signed(&above_key).unwrap().pem();
    let other_pem = other.self_signed(&other_key).unwrap().pem();
    let mut late = above.clone();
    late.not_after = date_time_ymd(2021, 1, 1);
    let late_pem = late.self_signed(&above_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(above, above_key);
    let signed = |params: CertificateParams| params.signed_by(&key, &issuer).unwrap().pem();
    let leaf = signed(params(&["a.example"]));
    let (mut expired, mut early) = (params(&["a.example"]), params(&["a.example"]));
    expired.not_after = date_time_ymd(2021, 2, 3);
    early.not_before = date_time_ymd(2059, 1, 1);
    files.put("key.pem", key.serialize_pem());
    files.put("other.key", KeyPair::generate().unwrap().serialize_pem());
    for (name, text) in [
        ("leaf.pem", leaf.clone()),
        ("turned.pem", format!("{above_pem}{leaf}")),
        ("strange.pem", format!("{leaf}{other_pem}")),
        ("late.pem", format!("{leaf}{late_pem}")),
        ("expired.pem", signed(expired)),
        ("early.pem", signed(early)),
        ("nameless.pem", signed(params(&[]))),
        ("empty.pem", String::new()),
        ("long.pem", "#".repeat(FILE_BYTES_MAX as usize + 1)),
        ("cut.pem", leaf[..leaf.len() / 2].to_owned()),
        ("noise.pem", leaf.replace('M', "*")),
        (
            "no-x509.pem",
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned(),
        ),
        (
            "no-key.pem",
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n".to_owned(),
        ),
    ] {
        files.put(name, text);
    }
    fs::create_dir(files.0.path().join("folder")).unwrap();
    assert!(files.read("leaf.pem", "key.pem").is_ok());
    for (certificate, key, says) in [
        (
            "leaf.pem",
            "other.key",
            "other.key is not that of the certificate in ",
        ),
        ("turned.pem", "key.pem", "is number 2 in "),
        ("strange.pem", "key.pem", "number 2 in "),
        (
            "strange.pem",
            "key.pem",
            "does not vouch for the one before it",
        ),
        (
            "expired.pem",
            "key.pem",
            "has expired: it ended at 2021-02-03T00:00:00Z",
        ),
        ("late.pem", "key.pem", "number 2 in "),
        (
            "late.pem",
            "key.pem",
            "has expired: it ended at 2021-01-01T00:00:00Z",
        ),
        (
            "early.pem",
            "key.pem",
            "is not valid yet: it begins at 2059-01-01T00:00:00Z",
        ),
        ("nameless.pem", "key.pem", "names no host"),
        ("empty.pem", "key.pem", "has no certificate in PEM"),
        ("key.pem", "key.pem", "has no certificate in PEM"),
        ("leaf.pem", "leaf.pem", "has no private key in PEM"),
        ("long.pem", "key.pem", "is larger than 262144 bytes"),
        (
            "cut.pem",
            "key.pem",
            "does not read as a certificate in PEM: there is no line \"-----END CERTIFICATE-----\"",
        ),
        (
            "noise.pem",
            "key.pem",
            "does not read as a certificate in PEM",
        ),
        ("no-x509.pem", "key.pem", "it is not X.509"),
        ("leaf.pem", "no-key.pem", "is of no kind that is served"),
        (
            "none.pem",
            "key.pem",
            "none.pem could not be read: No such file",
        ),
        (
            "leaf.pem",
            "none.key",
            "none.key could not be read: No such file",
        ),
        ("folder", "key.pem", "it is not a plain file"),
    ] {
        files.refused(certificate, key, says);
    }
}

#[test]
fn no_cut_and_no_flipped_bit_of_a_certificate_panics_or_reads_past_it() {
    let key = KeyPair::generate().unwrap();
    let made = params(&["a.example", "10.0.0.5"])
        .self_signed(&key)
        .unwrap();
    let der = made.der().to_vec();
    assert_eq!(
        Certificate::parse(&der).unwrap().names,
        ["a.example", "10.0.0.5"]
    );
    for end in 0..der.len() {
        assert!(Certificate::parse(&der[..end]).is_none(), "{end}");
    }
    for at in 0..der.len() {
        for bit in 0..8 {
            let mut other = der.clone();
            other[at] ^= 1 << bit;
            // Signatures are not looked at: much of it may differ.
            let _ = Certificate::parse(&other);
        }
    }
    let longer = [der.as_slice(), b"x"].concat();
    assert!(Certificate::parse(&longer).is_none());
}

#[test]
fn one_of_its_own_making_is_made_once_and_anew_where_it_would_not_serve() {
    let data = tempfile::tempdir().unwrap();
    let source = Source::Made(data.path().join("tls"));
    let names = |more: &[&str]| {
        let more: Vec<String> = more.iter().map(|name| name.to_string()).collect();
        local_names(
            &["0.0.0.0:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()],
            &more,
        )
    };
    let first = source.read(&names(&[])).unwrap();
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert!(
            first.names.iter().any(|one| one == name),
            "{:?}",
            first.names
        );
    }
    assert!(first.ends > now() + 3600 * 24 * 3000);
    let mode = |name: &str| {
        let path = data.path().join("tls").join(name);
        fs::metadata(path).unwrap().mode() & 0o777
    };
    assert_eq!((mode("key.pem"), mode("certificate.pem")), (0o600, 0o644));
    let again = source.read(&names(&[])).unwrap();
    assert_eq!(again.fingerprint, first.fingerprint);
    let wider = source.read(&names(&["*.fn.example.org"])).unwrap();
    assert_ne!(wider.fingerprint, first.fingerprint);
    assert_eq!(wider.key, first.key, "the key stays");
    assert_eq!(first.trusted, Some(data.path().join("tls/certificate.pem")));
    assert_eq!(
        source.read(&names(&[])).unwrap().fingerprint,
        wider.fingerprint
    );
    fs::write(data.path().join("tls/key.pem"), "gone").unwrap();
    let other = source.read(&names(&[])).unwrap();
    assert_ne!(other.fingerprint, wider.fingerprint);
    assert_ne!(other.key, first.key);
    assert_eq!(mode("key.pem"), 0o600);
}

#[test]
fn one_that_was_ordered_has_to_name_all_that_was_and_lies_in_one_file() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let made = params(&["a.example", "b.example"])
        .self_signed(&key)
        .unwrap();
    let text = format!("{}{}", key.serialize_pem(), made.pem());
    let path = files.put("ordered.pem", text);
    let read = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        read_ordered(&path, &names)
    };
    let found = read(&["B.example", "a.example"]).unwrap();
    assert_eq!(
        (found.trusted, found.key),
        (None, key_of(made.der()).unwrap())
    );
    let error = read(&["a.example", "c.example"]).unwrap_err();
    assert!(
        chain(&error).ends_with("does not name c.example"),
        "{error}"
    );
    assert_eq!(key_of(b"nothing"), None);
}

#[test]
fn a_proof_is_shown_to_who_asks_for_it_by_its_name_while_it_is_wanted() {
    let key = KeyPair::generate().unwrap();
    let usual = params(&["a.example"]).self_signed(&key).unwrap();
    let usual_der = usual.der().clone();
    let config = config(
        vec![usual_der.clone()],
        PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    );
    let challenges = Arc::new(Challenges::default());
    let config = Arc::new(challenges.answered_by(&config.unwrap()));
    // What a client that offers these protocols for this name is shown; nothing where it is refused.
    let shown = |protocols: &[&[u8]], name: &'static str| -> Option<Vec<u8>> {
        let provider = Arc::new(default_provider());
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        client.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
        let mut client =
            rustls::ClientConnection::new(Arc::new(client), name.try_into().unwrap()).unwrap();
        let mut server = rustls::ServerConnection::new(config.clone()).unwrap();
        for _ in 0..4 {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).unwrap();
            }
            let mut rest = sent.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets().ok()?;
            }
            let mut sent = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut sent).unwrap();
            }
            let mut rest = sent.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().ok()?;
            }
        }
        client.peer_certificates().map(|all| all[0].to_vec())
    };
    let proof: &[&[u8]] = &[b"acme-tls/1"];
    let usual = Some(usual_der.to_vec());
    assert_eq!(shown(&[b"h2", b"http/1.1"], "a.example"), usual);
    assert_eq!(shown(&[], "a.example"), usual);
    assert_eq!(shown(proof, "a.example"), None);
    let open = challenges.show("A.example", &[7; 32]).unwrap();
    let found = shown(proof, "a.example").unwrap();
    assert!(
        found
            .windows(34)
            .any(|part| part[..2] == [4, 32] && part[2..] == [7; 32])
    );
    assert_eq!(Certificate::parse(&found).unwrap().names, ["a.example"]);
    assert_eq!(shown(proof, "b.example"), None);
    // Whoever offers more is no authority.
    assert_eq!(shown(&[b"acme-tls/1", b"h2"], "a.example"), usual);
    assert_eq!(shown(&[b"http/1.1"], "a.example"), usual);
    drop(open);
    assert_eq!(shown(proof, "a.example"), None);
    assert!(challenges.show("a.example", &[7; 31]).is_err());
}

/// Believes anybody: what is shown is the point.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        let algorithms = default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[test]
fn a_fingerprint_reads_as_it_is_written_and_as_others_write_it() {
    let one = Fingerprint::of(b"certificate");
    let digits = hex::encode(one.0);
    for text in [
        one.to_string(),
        digits.clone(),
        format!("sha256:{one}"),
        format!(" {digits}\n"),
    ] {
        assert_eq!(Fingerprint::parse(&text), Some(one), "{text}");
    }
    for wrong in [
        "",
        "sha256:",
        &digits[1..],
        &format!("{digits}00"),
        "sha1:00",
    ] {
        assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
    }
}
