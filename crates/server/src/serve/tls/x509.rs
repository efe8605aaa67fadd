//! As much of a certificate as has to be known before it is shown: whose it is, by whom, for how
//! long, with which key. Signatures are the clients' to check.

use jiff::{civil, tz::TimeZone};
use std::net::IpAddr;

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]` of the version and `[3]` of the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[2]` and `[7]` of a general name.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// What of one certificate is judged.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// Seconds since 1970.
    pub(super) begins: i64,
    pub(super) ends: i64,
    /// SubjectPublicKeyInfo, whole.
    pub(super) key: &'a [u8],
    /// Hosts that it is for, in its order.
    pub(super) names: Vec<String>,
}

impl<'a> Certificate<'a> {
    /// Nothing where it is not one.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outer = Der(der);
        let mut all = Der(outer.take(SEQUENCE)?);
        let mut signed = Der(all.take(SEQUENCE)?);
        all.take(SEQUENCE)?;
        all.take(BIT_STRING)?;
        if !(outer.0.is_empty() && all.0.is_empty()) {
            return None;
        }
        signed.optional(VERSION)?;
        signed.take(INTEGER)?;
        signed.take(SEQUENCE)?;
        let issuer = signed.take(SEQUENCE)?;
        let mut validity = Der(signed.take(SEQUENCE)?);
        let (begins, ends) = (validity.time()?, validity.time()?);
        let subject = signed.take(SEQUENCE)?;
        let key = signed.whole(SEQUENCE)?;
        let mut names = Vec::new();
        while !signed.0.is_empty() {
            let (tag, content) = signed.next()?;
            if tag == EXTENSIONS {
                names = names_in(content)?;
            }
        }
        Some(Self {
            issuer,
            subject,
            begins,
            ends,
            key,
            names,
        })
    }
}

fn names_in(extensions: &[u8]) -> Option<Vec<String>> {
    let mut all = Der(Der(extensions).take(SEQUENCE)?);
    let mut names = Vec::new();
    while !all.0.is_empty() {
        let mut one = Der(all.take(SEQUENCE)?);
        let id = one.take(OBJECT_ID)?;
        one.optional(BOOLEAN)?;
        let value = one.take(OCTET_STRING)?;
        if id != SUBJECT_ALT_NAME {
            continue;
        }
        let mut list = Der(Der(value).take(SEQUENCE)?);
        while !list.0.is_empty() {
            match list.next()? {
                (DNS_NAME, name) => names.push(std::str::from_utf8(name).ok()?.to_owned()),
                (IP_ADDRESS, bytes) => names.push(address(bytes)?.to_string()),
                _ => {}
            }
        }
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    Some(<[u8; 16]>::try_from(bytes).ok()?.into())
}

/// Bytes of which values are taken one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value, its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, length], mut rest) = self.0.split_first_chunk::<2>()?;
        let length = match length {
            0..=0x7f => usize::from(length),
            0x81..=0x84 => {
                let (bytes, after) = rest.split_at_checked(usize::from(length & 0x7f))?;
                rest = after;
                let number = |all: usize, byte: &u8| all << 8 | usize::from(*byte);
                bytes.iter().fold(0, number)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next value, which has to be of this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    /// The next value with its tag and length.
    fn whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.take(tag)?;
        Some(&before[..before.len() - self.0.len()])
    }

    /// Passes over a value of this tag, where it is the next.
    fn optional(&mut self, tag: u8) -> Option<()> {
        if self.0.first() == Some(&tag) {
            self.next()?;
        }
        Some(())
    }

    /// A time, as seconds since 1970.
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            // RFC 5280: 50 to 99 are of the last century.
            UTC_TIME => {
                let year: i16 = text.get(..2)?.parse().ok()?;
                (if year < 50 { 2000 } else { 1900 } + year, text.get(2..)?)
            }
            GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
            _ => return None,
        };
        let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
        let (month, day) = (part(0)?, part(2)?);
        let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
        let at = civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        let at = at.to_zoned(TimeZone::UTC).ok()?;
        (rest.len() == 10).then(|| at.timestamp().as_second())
    }
}
