//! A signed ticket: a JSON Web Token (RFC 7519) with HMAC-SHA256, checked before anything of it
//! is believed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;
use std::fmt;

/// Longest token that is looked at; those of `tickets` are below 1 KiB.
const TOKEN_MAX_BYTES: usize = 4096;

/// What a ticket says.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// The booking.
    #[serde(rename = "jti")]
    pub booking: String,
    /// Who may enter.
    #[serde(rename = "sub")]
    pub holder: String,
    pub title: String,
    pub venue: String,
    /// As `events` has it: `2031-05-16T20:00:00Z`.
    pub starts: String,
    /// `2 × standard, 1 × premium`.
    pub seats: String,
    /// With its currency: `98.00 EUR`.
    pub total: String,
}

/// Why a token is no ticket.
#[derive(Debug, PartialEq)]
pub enum Refused {
    /// It cannot be read; the text says where.
    Malformed(&'static str),
    /// It can, but `tickets` did not sign it.
    Signature,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "the ticket cannot be read: {what}"),
            Self::Signature => f.write_str("the ticket was not issued by this box office"),
        }
    }
}

impl Ticket {
    /// The ticket in `token`, if it was signed with `key`.
    pub fn verify(token: &str, key: &[u8]) -> Result<Self, Refused> {
        use Refused::{Malformed, Signature};
        if token.len() > TOKEN_MAX_BYTES {
            return Err(Malformed("it is too long"));
        }
        let (signed, signature) = token
            .rsplit_once('.')
            .ok_or(Malformed("it has no signature"))?;
        let (header, claims) = signed
            .split_once('.')
            .ok_or(Malformed("it has no claims"))?;
        let decode = |part: &str, what| URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed(what));
        // The algorithm is ours to say, not the token's: "none" never gets this far.
        let header: serde_json::Value = serde_json::from_slice(&decode(header, "its header")?)
            .map_err(|_| Malformed("its header"))?;
        if header["alg"] != "HS256" {
            return Err(Malformed("its algorithm is not HS256"));
        }
        let signature = decode(signature, "its signature")?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(signed.as_bytes());
        mac.verify_slice(&signature).map_err(|_| Signature)?;
        serde_json::from_slice(&decode(claims, "its claims")?).map_err(|_| Malformed("its claims"))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub const KEY: &[u8] = b"a key of the tests";

    pub fn claims() -> Value {
        json!({
            "jti": "bk-1", "sub": "Ada <Lovelace>", "title": "Harbour Lights", "venue": "Dock 4",
            "starts": "2031-05-16T20:00:00Z", "seats": "2 × standard", "total": "65.50 EUR",
        })
    }

    pub fn signed(claims: &Value) -> String {
        signed_as(&json!({ "alg": "HS256", "typ": "JWT" }), claims)
    }

    fn signed_as(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
        mac.update(text.as_bytes());
        format!(
            "{text}.{}",
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        )
    }

    #[test]
    fn what_was_signed_is_read() {
        let ticket = Ticket::verify(&signed(&claims()), KEY).unwrap();
        assert_eq!(
            (ticket.booking.as_str(), ticket.holder.as_str()),
            ("bk-1", "Ada <Lovelace>")
        );
    }

    #[test]
    fn another_key_or_text_is_refused() {
        let token = signed(&claims());
        assert_eq!(
            Ticket::verify(&token, b"another key"),
            Err(Refused::Signature)
        );
        let mut other = claims();
        other["seats"] = "8 × premium".into();
        let (_, signature) = token.rsplit_once('.').unwrap();
        let (text, _) = signed(&other)
            .rsplit_once('.')
            .map(|(t, s)| (t.to_owned(), s.to_owned()))
            .unwrap();
        assert_eq!(
            Ticket::verify(&format!("{text}.{signature}"), KEY),
            Err(Refused::Signature)
        );
    }

    #[test]
    fn the_token_does_not_choose_its_algorithm() {
        let none = signed_as(&json!({ "alg": "none" }), &claims());
        assert_eq!(
            Ticket::verify(&none, KEY),
            Err(Refused::Malformed("its algorithm is not HS256"))
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let long = "a".repeat(TOKEN_MAX_BYTES + 1);
        for token in [
            "",
            "a",
            "a.b",
            "!.b.c",
            long.as_str(),
            &signed(&json!({ "jti": 1 })),
        ] {
            assert!(
                matches!(Ticket::verify(token, KEY), Err(Refused::Malformed(_))),
                "{token}"
            );
        }
    }
}
