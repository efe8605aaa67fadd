//! The node's sealing keys: one line of 64 hexadecimal digits each, the newest last.

use super::{StartFailure, failure, folder::Folder};
use freehold_identity::NodeSealer;
use ring::digest::{Context, SHA256};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
};

/// Reads the keys; the first start makes one.
pub(crate) fn load_or_make(folder: &Folder) -> Result<Vec<[u8; 32]>, StartFailure> {
    let path = folder.keys().join("seal");
    let wrong = |what: String| {
        failure(
            format!("the sealing keys in {}: {what}", path.display()),
            "restore the file from a backup: without it no secret of this data folder opens",
        )
    };
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text).ok_or_else(|| wrong("a line is not 64 hexadecimal digits".into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = NodeSealer::new_key();
            write_once(&path, &key).map_err(|error| wrong(error.to_string()))?;
            Ok(vec![key])
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The keys in a file's text; `None` when it is not one of sealing keys.
pub(crate) fn parse(text: &str) -> Option<Vec<[u8; 32]>> {
    let keys: Option<Vec<[u8; 32]>> = text.lines().map(key_of).collect();
    keys.filter(|keys| !keys.is_empty())
}

/// What names a key and tells nothing of it: half of a SHA-256 over a text of ours and the key.
pub(crate) fn fingerprint(key: &[u8; 32]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(b"freehold sealing key\n");
    context.update(key);
    hex::encode(&context.finish().as_ref()[..16])
}

/// The key is on disk, whole, before anything is sealed with it.
fn write_once(path: &std::path::Path, key: &[u8; 32]) -> io::Result<()> {
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let partial = path.with_extension("new");
    let _ = fs::remove_file(&partial);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn key_of(line: &str) -> Option<[u8; 32]> {
    let digest: freehold_domain::Digest = line.trim().parse().ok()?;
    Some(digest.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_whole_or_not_at_all() {
        let line = "0f".repeat(32);
        assert_eq!(parse(&format!("{line}\n")), Some(vec![[15; 32]]));
        assert_eq!(parse(&format!("{line}\n{line}\n")), Some(vec![[15; 32]; 2]));
        for wrong in ["", "\n", "0f", &format!("{line}\n\n"), &format!("{line}0")] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_fingerprint_tells_keys_apart() {
        let (one, two) = (fingerprint(&[1; 32]), fingerprint(&[2; 32]));
        assert_ne!(one, two);
        assert_eq!((one.len(), fingerprint(&[1; 32])), (32, one));
    }
}
