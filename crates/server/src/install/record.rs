//! What an install has written, kept so that the next one and `uninstall` know it from what is not
//! ours.

use super::{Root, Trouble, unit};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Where it lies.
pub(super) const RECORD: &str = "/usr/local/share/freehold/installed.json";
/// What `uninstall` leaves of it where data, configuration or account stay, so that a later `--purge` finds
/// them.
pub(super) const LEFT: &str = "/etc/freehold/uninstalled.json";
/// A number of its layout; a newer one is refused.
const FORMAT: u32 = 1;
/// Bytes of it that are read: a dozen paths are a few KiB.
const BYTES_MAX: u64 = 64 << 10;

/// What is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    /// Who wrote it.
    release: String,
    pub(super) data: PathBuf,
    pub(super) bin_dir: PathBuf,
    /// Whether user and group are of our making.
    pub(super) account: bool,
    /// SHA-256, in hexadecimal digits, that each was written with.
    pub(super) files: BTreeMap<PathBuf, String>,
    /// Folders that were made, outer ones first.
    pub(super) folders: Vec<PathBuf>,
}

impl Record {
    pub(super) fn new(data: &Path, bin_dir: &Path) -> Self {
        Self {
            format: FORMAT,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            data: data.to_owned(),
            bin_dir: bin_dir.to_owned(),
            account: false,
            files: BTreeMap::new(),
            folders: Vec::new(),
        }
    }

    /// The record of that tree, if there is one.
    pub(super) fn read(root: &Root) -> Result<Option<Self>, Trouble> {
        Self::read_at(root, RECORD)
    }

    /// What an earlier `uninstall` left of it.
    pub(super) fn left(root: &Root) -> Result<Option<Self>, Trouble> {
        Self::read_at(root, LEFT)
    }

    /// The same for another install into that data folder.
    pub(super) fn again(&self, bin_dir: &Path) -> Self {
        let new = Self::new(&self.data, bin_dir);
        Self {
            account: self.account,
            files: self.files.clone(),
            folders: self.folders.clone(),
            ..new
        }
    }

    fn read_at(root: &Root, path: &str) -> Result<Option<Self>, Trouble> {
        let at = root.contained(Path::new(path))?;
        let file = match File::open(&at) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", at.display()).into()),
        };
        let mut text = Vec::new();
        let read = file.take(BYTES_MAX).read_to_end(&mut text);
        read.map_err(|error| format!("{}: {error}", at.display()))?;
        Ok(Some(Self::parse(&text).map_err(|why| {
            format!("{} {why}: use the release that wrote it, or remove it: then nothing of what was installed counts as ours", at.display())
        })?))
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let record: Self =
            serde_json::from_slice(text).map_err(|error| format!("does not read ({error})"))?;
        if record.format != FORMAT {
            return Err(format!(
                "has format {}, and this release reads {FORMAT}",
                record.format
            ));
        }
        // What is removed with all that is in it is not for a file to make up.
        for path in [&record.data, &record.bin_dir] {
            unit::allowed(path).map_err(|why| format!("names {why}"))?;
        }
        let mut all = record.files.keys().chain(&record.folders);
        match all.find(|path| !path.is_absolute()) {
            Some(path) => Err(format!("names {}, which is not absolute", path.display())),
            None => Ok(record),
        }
    }

    /// As it is written.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("paths that were read are text");
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_others_are_refused_by_what_is_wrong() {
        let mut record = Record::new(Path::new("/var/lib/freehold"), Path::new("/usr/local/bin"));
        record
            .files
            .insert("/usr/local/bin/freehold".into(), "0f".repeat(32));
        record.folders.push("/etc/freehold".into());
        let text = record.text();
        assert_eq!(Record::parse(&text), Ok(record));

        let text = String::from_utf8(text).expect("text");
        for (was, is, says) in [
            ("\"format\": 1", "\"format\": 2", "format 2"),
            ("\"/etc/freehold\"", "\"etc/freehold\"", "not absolute"),
            ("\"/var/lib/freehold\"", "\"/\"", "absolute path"),
            ("{", "", "does not read"),
        ] {
            let error = Record::parse(text.replacen(was, is, 1).as_bytes()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
