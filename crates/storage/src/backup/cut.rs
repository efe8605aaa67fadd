//! What belongs to a backup, found in the order that the cut asks for, and written.

use super::{
    BackupHead,
    copy::{Copies, CopyError},
    name::{EntryName, LOGS_PER_FOLDER},
    write::{BackupWriter, Out, Pace, WriteError},
};
use crate::{audit::AuditFolder, blobs::Hold};
use freehold_domain::{
    Digest, TenantId,
    ports::{BackupAsked, BackupError},
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Lane, number, bytes.
pub(crate) type Segments = Vec<(u16, u64, u64)>;
/// Folder, number, bytes.
pub(crate) type AuditSegments = Vec<(AuditFolder, u64, u64)>;

/// Keeps something for as long as it lives.
pub(crate) trait Held {}
impl Held for () {}
impl Held for Hold<'_> {}

/// A store of which a backup is made, in use or not.
pub(crate) trait Origin {
    /// Its folder.
    fn dir(&self) -> &Path;
    /// Keeps every blob until it is dropped.
    fn hold(&self) -> Box<dyn Held + '_>;
    /// The ledger's segments at this moment, in order.
    fn ledger(&self) -> io::Result<Segments>;
    /// The audit trail's.
    fn audit(&self) -> io::Result<AuditSegments>;
}

/// How writing a backup ended.
pub(crate) enum Ended {
    /// It was written, whole.
    Whole,
    /// Nobody took it any more.
    Gone,
    /// It failed; whoever takes it was told, if it had begun.
    Failed(BackupError),
}

/// Writes a backup of `origin`.
pub(crate) fn write<O: Out>(
    origin: &dyn Origin,
    head: &BackupHead,
    asked: BackupAsked,
    out: O,
) -> Ended {
    let mut pace = Pace::new(asked.bytes_per_second);
    let held = origin.hold();
    let cut = match Cut::take(origin, asked, &mut pace, &out) {
        Ok(cut) => cut,
        Err(CopyError::Gone) => return Ended::Gone,
        Err(CopyError::Failed(error)) => return Ended::Failed(error),
    };
    let Ok(mut writer) = BackupWriter::new(out, head) else {
        return Ended::Gone;
    };
    let written = cut.write(&mut writer, &mut pace);
    drop(held);
    match written {
        Ok(()) => match writer.finish() {
            Ok(()) => Ended::Whole,
            Err(_) => Ended::Gone,
        },
        Err(None) => Ended::Gone,
        Err(Some(reason)) => {
            let _ = writer.give_up(&reason);
            Ended::Failed(BackupError::Failed { reason })
        }
    }
}

/// What belongs to it, up to where.
struct Cut {
    dir: PathBuf,
    logs: bool,
    databases: [(EntryName, PathBuf); 2],
    ledger: Segments,
    audit: AuditSegments,
    _copies: Copies,
}

/// What ended it: nobody's interest, or a reason.
type Stopped = Option<String>;

impl Cut {
    fn take(
        origin: &dyn Origin,
        asked: BackupAsked,
        pace: &mut Pace,
        out: &dyn Out,
    ) -> Result<Self, CopyError> {
        let dir = origin.dir().to_owned();
        let copies = Copies::new(&dir)?;
        // The order is the cut's: see the head of this module's parent.
        let meta = copies.take(&dir.join("meta.db"), pace, out)?;
        let queue = copies.take(&dir.join("queue.db"), pace, out)?;
        let failed = |what: &str, error: io::Error| BackupError::Failed {
            reason: format!("{}: {error}", dir.join(what).display()),
        };
        let mut ledger = origin.ledger().map_err(|error| failed("ledger", error))?;
        let mut audit = origin.audit().map_err(|error| failed("audit", error))?;
        // A name that is another spelling of a number is not one of ours.
        ledger.dedup_by_key(|(lane, number, _)| (*lane, *number));
        audit.dedup_by(|(next, number, _), (one, its, _)| next == one && number == its);
        Ok(Self {
            logs: asked.logs,
            databases: [(EntryName::Meta, meta), (EntryName::Queue, queue)],
            ledger,
            audit,
            dir,
            _copies: copies,
        })
    }

    fn write<O: Out>(&self, writer: &mut BackupWriter<O>, pace: &mut Pace) -> Result<(), Stopped> {
        for (name, copy) in &self.databases {
            let file = File::open(copy).map_err(told(copy))?;
            entry(writer, name, file, copy, u64::MAX, pace)?;
        }
        for (lane, number, bytes) in &self.ledger {
            let name = EntryName::Ledger(*lane, *number);
            let path = name.below(&self.dir);
            let file = File::open(&path).map_err(told(&path))?;
            let found = entry(writer, &name, file, &path, *bytes, pace)?;
            if found < *bytes {
                let path = path.display();
                return Err(Some(format!("{path} is shorter than it was")));
            }
        }
        for (folder, number, bytes) in &self.audit {
            // Old lines may go at any time.
            let name = EntryName::Audit(folder.clone(), *number);
            self.if_there(writer, &name, *bytes, pace)?;
        }
        self.blobs(writer, pace)?;
        if self.logs {
            self.log_files(writer, pace)?;
        }
        Ok(())
    }

    fn blobs<O: Out>(&self, writer: &mut BackupWriter<O>, pace: &mut Pace) -> Result<(), Stopped> {
        let all = self.dir.join("blobs");
        let mut tenants: Vec<TenantId> = parsed(&all)?;
        tenants.sort_unstable();
        for tenant in tenants {
            let folder = all.join(tenant.as_str());
            // Two digits are the begin of a digest, so the folders' order is that of what is in them.
            let mut prefixes: Vec<String> = parsed(&folder)?;
            prefixes.sort_unstable();
            for prefix in prefixes {
                let found: Vec<Digest> = parsed(&folder.join(&prefix))?;
                let own = found.iter().filter(|one| one.to_string()[..2] == prefix);
                let mut found: Vec<[u8; 32]> = own.map(|one| one.0).collect();
                found.sort_unstable();
                found.dedup();
                for digest in found {
                    let name = EntryName::Blob(tenant.clone(), digest);
                    self.if_there(writer, &name, u64::MAX, pace)?;
                }
            }
        }
        Ok(())
    }

    fn log_files<O: Out>(
        &self,
        writer: &mut BackupWriter<O>,
        pace: &mut Pace,
    ) -> Result<(), Stopped> {
        let all = self.dir.join("logs");
        let mut folders: Vec<u64> = parsed(&all)?;
        folders.sort_unstable();
        folders.dedup();
        for folder in folders {
            let names: Vec<String> = parsed(&all.join(folder.to_string()))?;
            let numbers = names.iter().filter_map(|name| name.strip_suffix(".log"));
            let mut numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
            numbers.retain(|number| number / LOGS_PER_FOLDER == folder);
            numbers.sort_unstable();
            numbers.dedup();
            for number in numbers {
                self.if_there(writer, &EntryName::Log(number), u64::MAX, pace)?;
            }
        }
        Ok(())
    }

    /// Writes a file that somebody may have removed since it was listed.
    fn if_there<O: Out>(
        &self,
        writer: &mut BackupWriter<O>,
        name: &EntryName,
        bytes: u64,
        pace: &mut Pace,
    ) -> Result<(), Stopped> {
        let path = name.below(&self.dir);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(told(&path)(error)),
        };
        // One that grows as fast as it is read has an end all the same.
        let len = file.metadata().map_err(told(&path))?.len();
        entry(writer, name, file, &path, bytes.min(len), pace).map(drop)
    }
}

fn entry<O: Out>(
    writer: &mut BackupWriter<O>,
    name: &EntryName,
    mut file: File,
    path: &Path,
    bytes: u64,
    pace: &mut Pace,
) -> Result<u64, Stopped> {
    let written = writer.entry(name, &mut file, bytes, pace);
    written.map_err(|error| match error {
        WriteError::Gone => None,
        WriteError::Read(error) => told(path)(error),
    })
}

fn told(path: &Path) -> impl FnOnce(io::Error) -> Stopped {
    let path = path.to_owned();
    move |error| Some(format!("{} could not be read: {error}", path.display()))
}

/// The names in a folder that read as a `T`; none of a folder that is not there.
fn parsed<T: std::str::FromStr>(folder: &Path) -> Result<Vec<T>, Stopped> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(told(folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(told(folder))?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse().ok()));
    }
    Ok(found)
}
