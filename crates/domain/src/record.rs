//! Durable shapes: versioned, self-describing, migrated forward only.
//!
//! A record's desired part is written by `control`, its reported part by the engine's reconciler
//! through the same compare-and-set. Wire shapes stay with the front ends, which convert.

mod budgets;
mod event;
mod function;
mod key;
mod policy;
mod prices;
mod seal;
mod tenant;
mod usage;

pub use budgets::*;
pub use event::*;
pub use function::*;
pub use key::*;
pub use policy::*;
pub use prices::*;
pub use seal::*;
pub use tenant::*;
pub use usage::*;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A shape that is stored under one [`Kind`].
pub trait Record: Serialize + DeserializeOwned {
    /// Where it is stored.
    const KIND: Kind;
    /// The version that this code writes.
    const VERSION: u16;

    /// Reads an older version; called only for `version < VERSION`.
    ///
    /// Errors: a version that never existed is refused by name.
    fn upgrade(version: u16, _json: &str) -> Result<Self, RecordError> {
        Err(RecordError::UnknownVersion {
            kind: Self::KIND,
            version,
            newest: Self::VERSION,
        })
    }
}

/// Why stored bytes are not the record they should be.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not an envelope, or not the shape of its version.
    #[error("a stored {kind:?} record does not read as its shape")]
    Malformed {
        /// The kind that was expected.
        kind: Kind,
        /// What was wrong.
        source: serde_json::Error,
    },
    /// Written by a newer release, or by none.
    #[error("a stored {kind:?} record has version {version}; this release reads up to {newest}")]
    UnknownVersion {
        /// The kind that was expected.
        kind: Kind,
        /// What the envelope says.
        version: u16,
        /// The newest that is known here.
        newest: u16,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    v: u16,
    #[serde(borrow)]
    r: &'a RawValue,
}

/// `{"v":1,"r":{…}}`.
pub fn encode<R: Record>(record: &R) -> Vec<u8> {
    #[derive(Serialize)]
    struct Out<'a, R> {
        v: u16,
        r: &'a R,
    }
    serde_json::to_vec(&Out {
        v: R::VERSION,
        r: record,
    })
    .expect("records have string keys and no failing serializers")
}

/// The inverse of [`encode`], older versions upgraded.
///
/// Errors: [`RecordError`], which names the kind and the version.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, RecordError> {
    let malformed = |source| RecordError::Malformed {
        kind: R::KIND,
        source,
    };
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(malformed)?;
    match envelope.v {
        v if v == R::VERSION => serde_json::from_str(envelope.r.get()).map_err(malformed),
        v if v < R::VERSION => R::upgrade(v, envelope.r.get()),
        version => Err(RecordError::UnknownVersion {
            kind: R::KIND,
            version,
            newest: R::VERSION,
        }),
    }
}

/// Reads version 1 of a record that has had one version before today's.
fn older<R: Record, Old: DeserializeOwned>(version: u16, json: &str) -> Result<Old, RecordError> {
    if version != 1 {
        return Err(RecordError::UnknownVersion {
            kind: R::KIND,
            version,
            newest: R::VERSION,
        });
    }
    serde_json::from_str(json).map_err(|source| RecordError::Malformed {
        kind: R::KIND,
        source,
    })
}
