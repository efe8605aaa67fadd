//! What bills are made from (D8): one entry per invocation, written once, before the answer, and
//! entries of what instances sent to networks and received from them.
//!
//! A frame of the ledger is one of the two ([`LedgerFrame`]). Which, its first bytes say: an attempt
//! begins with its id, every other kind with its name and version.

use crate::{
    ids::{Digest, FunctionRef, InstanceId, InvocationId, Qualifier},
    invocation::Source,
    json::Object,
    outcome::Usage,
    time::Wall,
    trace::TraceHeader,
    traffic::NetworkBytes,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How an invocation ended, for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The function answered.
    Success,
    /// The function reported an error.
    FunctionError,
    /// It ran into its timeout and was killed.
    Timeout,
    /// The kernel killed it at its memory limit.
    OutOfMemory,
    /// Its process ended before the answer.
    Exited,
    /// The platform took the instance away.
    InstanceLost,
    /// Its caller cancelled it and it was killed.
    Cancelled,
    /// The machine had no room left for what it needed as it ran.
    NoRoom,
}

/// The durable record of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The request id.
    pub id: InvocationId,
    /// The function, its tenant and region.
    pub function: FunctionRef,
    /// The revision that ran.
    pub revision: Qualifier,
    /// The runtime's digest, the zero digest when none of ours is under the function.
    pub runtime: Digest,
    /// The instance.
    pub instance: InstanceId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Where the event came from.
    pub source: Source,
    /// The trace.
    pub trace: TraceHeader,
    /// When the event was accepted.
    pub received: Wall,
    /// The function's memory, MiB.
    pub memory_mib: u32,
    /// What it cost.
    pub usage: Usage,
    /// How it ended.
    pub ending: Ending,
    /// What the function was tagged with when the event was accepted; none without tags, and in
    /// entries of releases that did not write them down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<EntryTags>,
}

/// A function's tags, as an entry has them: by an id, so that an entry stays small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryTags {
    /// SHA-256 of the tags as JSON, keys in order.
    pub id: Digest,
    /// The tags themselves, in the first entry of a lane that names them since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<BTreeMap<String, String>>,
}

/// What an instance sent to networks and received from them in a stretch of time, as far as it was more
/// than nothing. Those of one instance overlap nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkEntry {
    /// The instance.
    pub instance: InstanceId,
    /// Which of its entries, from 1.
    pub sequence: u32,
    /// The function, its tenant and region.
    pub function: FunctionRef,
    /// The revision that it runs.
    pub revision: Qualifier,
    /// When the instance came up, or was last asked.
    pub from: Wall,
    /// When it was asked: at the latest a minute after it sent or received anything of this, or at its
    /// end. The entry counts as of then.
    pub to: Wall,
    /// How much.
    #[serde(flatten)]
    pub bytes: NetworkBytes,
    /// What the function was tagged with at `from`; as in [`LedgerEntry`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<EntryTags>,
}

impl NetworkEntry {
    /// The entry's JSON text, its kind first.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&Kind::NetworkV1(self)).expect("an entry always serialises")
    }

    /// What the entry is known by among all of the ledger, attempts included: no instance has the id of
    /// an invocation.
    pub fn name(&self) -> (InvocationId, u32) {
        (InvocationId(self.instance.0), self.sequence)
    }
}

/// What an entry says of itself before anything else.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind<Network> {
    NetworkV1(Network),
}

/// What a frame begins with that is no attempt.
const KIND: &[u8] = br#"{"kind":"#;

/// One frame of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub enum LedgerFrame {
    /// An attempt at an invocation.
    Attempt(Box<LedgerEntry>),
    /// What went over an instance's network.
    Network(NetworkEntry),
}

impl LedgerFrame {
    /// Reads a frame.
    ///
    /// Errors: it is no entry of this release or an older one.
    pub fn read(frame: &[u8]) -> Result<Self, serde_json::Error> {
        if !frame.starts_with(KIND) {
            return serde_json::from_slice(frame).map(Self::Attempt);
        }
        let Kind::NetworkV1(entry) = serde_json::from_slice(frame)?;
        Ok(Self::Network(entry))
    }

    /// Whose it is.
    pub fn function(&self) -> &FunctionRef {
        match self {
            Self::Attempt(entry) => &entry.function,
            Self::Network(entry) => &entry.function,
        }
    }

    /// The moment at which it counts.
    pub fn at(&self) -> Wall {
        match self {
            Self::Attempt(entry) => entry.received,
            Self::Network(entry) => entry.to,
        }
    }

    /// The tags that it counts under.
    pub fn tags(&self) -> Option<&EntryTags> {
        match self {
            Self::Attempt(entry) => entry.tags.as_ref(),
            Self::Network(entry) => entry.tags.as_ref(),
        }
    }

    /// What it is known by: no other frame has the same.
    pub fn name(&self) -> (InvocationId, u32) {
        match self {
            Self::Attempt(entry) => (entry.id, entry.attempt),
            Self::Network(entry) => entry.name(),
        }
    }
}

/// What an entry takes, names of usual length in it; a longer one grows.
const ENTRY_BYTES: usize = 1024;

impl LedgerEntry {
    /// The entry's JSON text, as `serde_json` would write it: every invocation waits for it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENTRY_BYTES);
        let mut entry = Object::begin(&mut out);
        entry.uuid("id", self.id.0);
        entry.object("function", |function| {
            function.text("tenant", self.function.tenant.as_str());
            function.text("region", self.function.region.as_str());
            function.text("name", self.function.name.as_str());
        });
        match &self.revision {
            Qualifier::Latest => entry.plain("revision", "Latest"),
            other => entry.value("revision", other),
        }
        entry.plain("runtime", self.runtime.hex());
        entry.uuid("instance", self.instance.0);
        entry.number("attempt", self.attempt);
        match &self.source {
            Source::Api => entry.plain("source", "Api"),
            Source::Url => entry.plain("source", "Url"),
            other => entry.value("source", other),
        }
        entry.object("trace", |trace| {
            trace.number("root_seconds", self.trace.root_seconds);
            trace.number("root_random", self.trace.root_random);
            match self.trace.parent {
                Some(parent) => trace.number("parent", parent),
                None => trace.null("parent"),
            }
            trace.flag("sampled", self.trace.sampled);
            trace.number("hops", self.trace.hops);
        });
        entry.number("received", self.received.0);
        entry.number("memory_mib", self.memory_mib);
        entry.object("usage", |usage| {
            let of = &self.usage;
            usage.number("queue_us", of.queue_us);
            usage.number("start_us", of.start_us);
            usage.number("init_us", of.init_us);
            usage.number("run_us", of.run_us);
            usage.number("billed_ms", of.billed_ms);
            usage.number("cpu_us", of.cpu_us);
            usage.number("memory_peak_bytes", of.memory_peak_bytes);
            usage.number("bytes_in", of.bytes_in);
            usage.number("bytes_out", of.bytes_out);
        });
        match self.ending {
            Ending::Success => entry.plain("ending", "success"),
            other => entry.value("ending", &other),
        }
        if let Some(tags) = &self.tags {
            entry.object("tags", |object| {
                object.plain("id", tags.id.hex());
                if let Some(set) = &tags.set {
                    object.value("set", set);
                }
            });
        }
        entry.end();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn an_entry_is_written_as_serde_would() {
        let digest = Digest(std::array::from_fn(|at| at as u8 * 7));
        let entry = |revision, source, parent, ending| LedgerEntry {
            id: InvocationId(Uuid::from_u128(1 << 100 | 77)),
            function: FunctionRef {
                tenant: "105032882907".parse().unwrap(),
                region: "us-east-1".parse().unwrap(),
                name: "hello-python".parse().unwrap(),
            },
            revision,
            runtime: digest,
            instance: InstanceId(Uuid::max()),
            attempt: 3,
            source,
            trace: TraceHeader {
                root_seconds: 5,
                root_random: u128::MAX >> 32,
                parent,
                sampled: true,
                hops: 2,
            },
            received: Wall(-1),
            memory_mib: 128,
            usage: Usage {
                queue_us: 1,
                start_us: 2,
                init_us: 3,
                run_us: 4,
                billed_ms: 5,
                cpu_us: 6,
                memory_peak_bytes: 7,
                bytes_in: 8,
                bytes_out: u64::MAX,
            },
            ending,
            tags: None,
        };
        let tags = |set: Option<&[(&str, &str)]>| EntryTags {
            id: digest,
            set: set.map(|set| {
                let own = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
                set.iter().map(own).collect()
            }),
        };
        for entry in [
            entry(Qualifier::Latest, Source::Url, None, Ending::Success),
            entry(
                Qualifier::Revision(7),
                Source::Api,
                Some(9),
                Ending::OutOfMemory,
            ),
            entry(
                Qualifier::Alias("live".parse().unwrap()),
                Source::Trigger("a\"b".to_owned()),
                Some(0),
                Ending::FunctionError,
            ),
            entry(Qualifier::Latest, Source::Queue, None, Ending::Timeout),
            LedgerEntry {
                tags: Some(tags(None)),
                ..entry(Qualifier::Latest, Source::Api, None, Ending::Success)
            },
            LedgerEntry {
                tags: Some(tags(Some(&[("b", "=\"1\n"), ("a", "")]))),
                ..entry(Qualifier::Latest, Source::Api, None, Ending::Success)
            },
        ] {
            let text = entry.to_json();
            assert_eq!(text, serde_json::to_vec(&entry).unwrap());
            assert_eq!(serde_json::from_slice::<LedgerEntry>(&text).unwrap(), entry);
        }
    }

    #[test]
    fn a_frame_is_the_entry_that_was_written() {
        let entry = NetworkEntry {
            instance: InstanceId(Uuid::max()),
            sequence: 7,
            function: FunctionRef {
                tenant: "105032882907".parse().unwrap(),
                region: "us-east-1".parse().unwrap(),
                name: "hello".parse().unwrap(),
            },
            revision: Qualifier::Revision(3),
            from: Wall(5),
            to: Wall(9),
            bytes: NetworkBytes {
                out: u64::MAX,
                back: 1,
            },
            tags: Some(EntryTags {
                id: Digest([3; 32]),
                set: None,
            }),
        };
        let text = entry.to_json();
        let shown = String::from_utf8(text.clone()).unwrap();
        let head = format!(
            r#"{{"kind":"network_v1","instance":"{}","sequence":7,"#,
            Uuid::max()
        );
        assert!(shown.starts_with(&head), "{shown}");
        assert!(
            shown.contains(r#""from":5,"to":9,"bytes_out":18446744073709551615,"bytes_in":1,"#)
        );
        let frame = LedgerFrame::read(&text).unwrap();
        assert_eq!(frame, LedgerFrame::Network(entry.clone()));
        assert_eq!((frame.at(), frame.name()), (Wall(9), entry.name()));
        // Of a later release: sums that leave it out would be wrong.
        for other in [
            shown.replace("network_v1", "network_v2"),
            r#"{"kind":"network_v1"}"#.to_owned(),
            r#"{"kind":1}"#.to_owned(),
            "{}".to_owned(),
        ] {
            assert!(LedgerFrame::read(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn an_entry_of_an_older_release_has_no_tags() {
        let id = "00000000-0000-0000-0000-000000000001";
        let old = format!(
            r#"{{"id":"{id}","function":{{"tenant":"105032882907","region":"us-east-1","name":"f"}},
            "revision":"Latest","runtime":"{}","instance":"{id}","attempt":1,"source":"Api",
            "trace":{{"root_seconds":5,"root_random":6,"parent":null,"sampled":true,"hops":2}},
            "received":7,"memory_mib":128,"usage":{{"queue_us":1,"start_us":2,"init_us":3,"run_us":4,
            "billed_ms":5,"cpu_us":6,"memory_peak_bytes":7,"bytes_in":8,"bytes_out":9}},
            "ending":"success"}}"#,
            "0".repeat(64)
        );
        let read: LedgerEntry = serde_json::from_str(&old).unwrap();
        assert_eq!((&read.tags, read.usage.billed_ms), (&None, 5));
        let frame = LedgerFrame::read(old.as_bytes()).unwrap();
        assert_eq!(frame, LedgerFrame::Attempt(Box::new(read)));
    }
}
