//! The trace that an invocation belongs to, in the form that Lambda's clients and functions know.
//!
//! Source: AWS X-Ray developer guide, "Tracing header": `Root=1-5759e988-bd862e3fe1be46a994272793;
//! Parent=53995c3f42cd8ad8;Sampled=1`. Unknown fields are dropped, a malformed header is replaced.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Longest header that is looked at, in bytes.
pub const HEADER_BYTES_MAX: usize = 512;

/// Root, parent and sampling decision of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceHeader {
    /// 8 hex digits of the trace's epoch second.
    pub root_seconds: u32,
    /// 96 random bits, in the low part.
    pub root_random: u128,
    /// The span that calls, 64 bits.
    pub parent: Option<u64>,
    /// Whether somebody asked for the trace to be recorded.
    pub sampled: bool,
    /// How many functions of this trace called the next one so far (`Lineage` on the wire is
    /// AWS's own form; ours travels as `Hops`).
    pub hops: u8,
}

impl TraceHeader {
    /// A new root made from an id that is unique already: UUIDv7 carries time and randomness.
    pub fn new_root(id: Uuid) -> Self {
        let value = id.as_u128();
        let seconds = (value >> 80) as u64 / 1000;
        Self {
            root_seconds: seconds as u32,
            root_random: value & ((1 << 76) - 1)
                | (u128::from(seconds as u32) << 76) & ((1 << 96) - 1),
            parent: None,
            sampled: false,
            hops: 0,
        }
    }

    /// Reads a header; `None` when it has no well-formed root.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > HEADER_BYTES_MAX {
            return None;
        }
        let mut found: Option<Self> = None;
        let (mut parent, mut sampled, mut hops) = (None, false, 0);
        for field in text.split(';') {
            match field.trim().split_once('=') {
                Some(("Root", root)) => found = Some(parse_root(root)?),
                Some(("Parent", id)) if id.len() == 16 => {
                    parent = u64::from_str_radix(id, 16).ok();
                }
                Some(("Sampled", flag)) => sampled = flag == "1",
                Some(("Hops", count)) => hops = count.parse().unwrap_or(0),
                _ => {}
            }
        }
        found.map(|root| Self {
            parent,
            sampled,
            hops,
            ..root
        })
    }
}

fn parse_root(text: &str) -> Option<TraceHeader> {
    let mut parts = text.split('-');
    let (version, seconds, random) = (parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |t: &str| t.bytes().all(|b| b.is_ascii_hexdigit());
    if version != "1" || parts.next().is_some() || seconds.len() != 8 || random.len() != 24 {
        return None;
    }
    if !is_hex(seconds) || !is_hex(random) {
        return None;
    }
    Some(TraceHeader {
        root_seconds: u32::from_str_radix(seconds, 16).ok()?,
        root_random: u128::from_str_radix(random, 16).ok()?,
        parent: None,
        sampled: false,
        hops: 0,
    })
}

impl fmt::Display for TraceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Root=1-{:08x}-{:024x}",
            self.root_seconds, self.root_random
        )?;
        if let Some(parent) = self.parent {
            write!(f, ";Parent={parent:016x}")?;
        }
        write!(f, ";Sampled={}", u8::from(self.sampled))?;
        if self.hops > 0 {
            write!(f, ";Hops={}", self.hops)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_what_it_wrote() {
        let text = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        assert_eq!(TraceHeader::parse(text).unwrap().to_string(), text);
        let root =
            TraceHeader::new_root(Uuid::from_u128(0x0190_0000_0000_7abc_8def_0123_4567_89ab));
        assert_eq!(TraceHeader::parse(&root.to_string()), Some(root));
    }

    #[test]
    fn a_malformed_root_is_no_trace() {
        for bad in [
            "",
            "Root=",
            "Root=1-2-3",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Parent=53995c3f42cd8ad8",
            "Root=1-+759e988-bd862e3fe1be46a994272793",
        ] {
            assert_eq!(TraceHeader::parse(bad), None, "{bad}");
        }
    }
}
