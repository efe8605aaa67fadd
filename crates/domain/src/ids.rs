//! Names and ids as types of their own, so that two of them cannot be swapped.
//!
//! Parsing checks the shape and nothing else; whether the thing exists is for others to say.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};
use uuid::Uuid;

/// A name that does not have the shape its type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct NameError {
    /// What was being named, as a noun: "tenant id".
    pub what: &'static str,
    /// The text that was refused, cut at 256 characters.
    pub value: String,
    /// The rule that it broke.
    pub rule: &'static str,
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(Arc::from(text)));
                }
                Err(NameError { what: $what, value: text.chars().take(256).collect(), rule: $rule })
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_name(text: &str, longest: usize) -> bool {
    !text.is_empty()
        && text.len() <= longest
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

text_name!(
    /// An account: 12 digits on the wire.
    TenantId, "tenant id", "12 digits", |t| t.len() == 12 && t.bytes().all(|b| b.is_ascii_digit())
);
text_name!(
    /// A region's name, `us-east-1`.
    Region, "region", "1 to 32 lower-case letters, digits and '-'",
    |t| !t.is_empty() && t.len() <= 32
        && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
text_name!(
    /// The name of a function within a tenant and region.
    FunctionName, "function name", "1 to 64 letters, digits, '-' and '_'", |t| is_name(t, 64)
);
text_name!(
    /// The name of an alias; never all digits, which would read as a revision.
    AliasName, "alias name", "1 to 128 letters, digits, '-' and '_', not all digits",
    |t| is_name(t, 128) && !t.bytes().all(|b| b.is_ascii_digit())
);
text_name!(
    /// The name of a runtime, `python3.12`.
    RuntimeName, "runtime name", "1 to 64 letters, digits, '.', '-' and '_'",
    |t| !t.is_empty() && t.len() <= 64
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
);

impl TenantId {
    /// The tenant that owns what belongs to the platform itself; it has no keys and no functions.
    pub fn platform() -> Self {
        Self(Arc::from("000000000000"))
    }
}

/// What a caller asked for behind a function's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Qualifier {
    /// The mutable head.
    Latest,
    /// An immutable revision, counted from 1.
    Revision(u64),
    /// A named pointer.
    Alias(AliasName),
}

impl fmt::Display for Qualifier {
    /// As on the wire: `$LATEST`, `7`, `live`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::Revision(number) => write!(f, "{number}"),
            Self::Alias(name) => name.fmt(f),
        }
    }
}

impl FromStr for Qualifier {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "$LATEST" {
            return Ok(Self::Latest);
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::Revision).map_err(|_| NameError {
                what: "version",
                value: text.chars().take(256).collect(),
                rule: "a number below 2^64",
            });
        }
        text.parse().map(Self::Alias)
    }
}

/// A function, wherever it lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionRef {
    /// The owner.
    pub tenant: TenantId,
    /// Where it lives.
    pub region: Region,
    /// Its name there.
    pub name: FunctionName,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}
uuid_id!(
    /// One event handed to one revision; a UUIDv7, so ids sort by time. The wire's request id.
    InvocationId
);
uuid_id!(
    /// One isolated execution environment; a UUIDv7.
    InstanceId
);

/// A SHA-256 of content: packages, runtimes, blobs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The 64 digits; every ledger entry holds some.
    pub fn hex(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).expect("digits are ASCII"))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}
impl FromStr for Digest {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError {
            what: "digest",
            value: text.chars().take(256).collect(),
            rule: "64 hexadecimal digits",
        };
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}
impl TryFrom<String> for Digest {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}
impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// A serving core of this node, counted from 0: a thread, its listener, its pools, its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CoreId(pub u16);

/// An amount of memory or disk in MiB.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Mebibytes(pub u32);

impl Mebibytes {
    /// The same in bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_shape() {
        for good in ["a", "A-b_9", &"x".repeat(64)] {
            assert!(good.parse::<FunctionName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a.b", "ä", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<FunctionName>().is_err(), "{bad}");
        }
        assert!("12345678901".parse::<TenantId>().is_err());
        assert!("123456789012".parse::<TenantId>().is_ok());
    }

    #[test]
    fn a_qualifier_is_head_revision_or_alias() {
        assert_eq!("$LATEST".parse(), Ok(Qualifier::Latest));
        assert_eq!("7".parse(), Ok(Qualifier::Revision(7)));
        assert_eq!("live".parse::<Qualifier>().unwrap().to_string(), "live");
        assert!("$latest".parse::<Qualifier>().is_err());
        assert!("99999999999999999999999".parse::<Qualifier>().is_err());
    }

    #[test]
    fn a_digest_reads_back_what_it_wrote() {
        let digest = Digest([0xab; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("zz".repeat(32).parse::<Digest>().is_err());
        assert!("ä".repeat(32).parse::<Digest>().is_err());
    }
}
