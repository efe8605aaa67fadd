//! The head of a log file: whose stream it is.

use crate::frame::{self, Found};
use bytes::Bytes;
use freehold_domain::{
    Region, TenantId, Wall,
    logs::{LogGroupName, LogStreamName},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

const MAGIC: &[u8; 8] = b"FHLOG1\0\n";
/// Names are bounded well below this; a longer header is not one of ours.
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// What is read at first; most heads take a tenth of it.
const READ_BYTES: u64 = 4 << 10;

#[derive(Serialize)]
struct Written<'a> {
    tenant: &'a TenantId,
    region: &'a Region,
    group: &'a str,
    stream: &'a str,
    created: Wall,
}

#[derive(Deserialize)]
struct Header {
    tenant: TenantId,
    region: Region,
    group: String,
    stream: String,
    created: Wall,
}

/// What a file says of itself.
pub(super) struct Head {
    /// Whose it is.
    pub(super) name: LogStreamName,
    /// When it was made.
    pub(super) created: Wall,
    /// Where its first line stands.
    pub(super) len: u64,
    /// Where the file ends.
    pub(super) file_len: u64,
}

/// The head of a new file.
pub(super) fn encode(name: &LogStreamName, created: Wall) -> io::Result<Vec<u8>> {
    let header = Written {
        tenant: &name.group.tenant,
        region: &name.group.region,
        group: &name.group.group,
        stream: &name.stream,
        created,
    };
    let mut bytes = MAGIC.to_vec();
    frame::push(&mut bytes, &serde_json::to_vec(&header)?);
    if bytes.len() as u64 > HEADER_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the names of the log stream are too long",
        ));
    }
    Ok(bytes)
}

/// Reads the head of a file; `None` when it has none.
pub(super) fn read(path: &Path) -> io::Result<Option<Head>> {
    let mut file = File::open(path)?;
    let file_len = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(READ_BYTES).read_to_end(&mut bytes)?;
    if !bytes.starts_with(MAGIC) {
        return Ok(None);
    }
    if frame::announced(&bytes, MAGIC.len()).is_some_and(|len| len as u64 + 64 > READ_BYTES) {
        let more = HEADER_BYTES_MAX - READ_BYTES;
        file.take(more).read_to_end(&mut bytes)?;
    }
    let Found::Frame(header, len) = frame::at(&Bytes::from(bytes), MAGIC.len()) else {
        return Ok(None);
    };
    let Ok(header) = serde_json::from_slice::<Header>(&header) else {
        return Ok(None);
    };
    Ok(Some(Head {
        name: LogStreamName {
            group: LogGroupName {
                tenant: header.tenant,
                region: header.region,
                group: header.group,
            },
            stream: header.stream,
        },
        created: header.created,
        len: len as u64,
        file_len,
    }))
}
