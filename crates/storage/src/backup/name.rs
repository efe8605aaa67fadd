//! What may be in a backup: names of the store's files, parsed and never joined to a path as text.

use crate::audit::AuditFolder;
use freehold_domain::{Digest, TenantId};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Log files in one folder; part of the layout.
pub(crate) const LOGS_PER_FOLDER: u64 = 1000;

/// A file of the store. The order is the one in which entries come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryName {
    /// Records.
    Meta,
    /// Events.
    Queue,
    /// A segment of the ledger: lane and number.
    Ledger(u16, u64),
    /// A file of the audit trail: whose, and its number.
    Audit(AuditFolder, u64),
    /// A blob: whose, and its SHA-256.
    Blob(TenantId, [u8; 32]),
    /// A log stream.
    Log(u64),
}

impl EntryName {
    /// Where it lies below a store.
    pub(crate) fn below(&self, store: &Path) -> PathBuf {
        // All of it was parsed: numbers, digests, digits and words of ours.
        store.join(self.to_string())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str("meta.db"),
            Self::Queue => f.write_str("queue.db"),
            Self::Ledger(lane, number) => write!(f, "ledger/{lane}/{number}.seg"),
            Self::Audit(folder, number) => write!(f, "audit/{folder}/{number}.seg"),
            Self::Blob(tenant, digest) => {
                let digest = Digest(*digest).to_string();
                write!(f, "blobs/{tenant}/{}/{digest}", &digest[..2])
            }
            Self::Log(number) => write!(f, "logs/{}/{number}.log", number / LOGS_PER_FOLDER),
        }
    }
}

impl FromStr for EntryName {
    type Err = ();

    /// The opposite of its text, and of nothing else.
    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split('/').collect();
        let segment = |lane: &str, file: &str| {
            let number = file.strip_suffix(".seg")?.parse().ok()?;
            Some((lane.parse().ok()?, number))
        };
        let found = match parts[..] {
            ["meta.db"] => Some(Self::Meta),
            ["queue.db"] => Some(Self::Queue),
            ["ledger", lane, file] => segment(lane, file).map(|(l, n)| Self::Ledger(l, n)),
            ["audit", folder, file] => {
                let number = file.strip_suffix(".seg").and_then(|n| n.parse().ok());
                let folder = folder.parse().ok();
                folder.zip(number).map(|(f, n)| Self::Audit(f, n))
            }
            ["blobs", tenant, _, digest] => match (tenant.parse(), digest.parse::<Digest>()) {
                (Ok(tenant), Ok(digest)) => Some(Self::Blob(tenant, digest.0)),
                _ => None,
            },
            ["logs", _, file] => {
                let number = file.strip_suffix(".log").and_then(|n| n.parse().ok());
                number.map(Self::Log)
            }
            _ => None,
        };
        // Other spellings of a number, a digest or a folder are none.
        found.filter(|found| found.to_string() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::audit::AuditLane;

    #[test]
    fn every_name_reads_as_itself_and_comes_in_order() {
        let names = [
            EntryName::Meta,
            EntryName::Queue,
            EntryName::Ledger(0, 9),
            EntryName::Ledger(0, 10),
            EntryName::Ledger(12, 0),
            EntryName::Audit(AuditFolder::Mixed(0), u64::MAX),
            EntryName::Audit(AuditFolder::Part(AuditLane::Platform), 1),
            EntryName::Audit(AuditFolder::Part(AuditLane::Unproven), 1),
            EntryName::Audit("000000000000".parse().unwrap(), 7),
            EntryName::Audit("111111111111".parse().unwrap(), 3),
            EntryName::Blob("111111111111".parse().unwrap(), [7; 32]),
            EntryName::Log(0),
            EntryName::Log(12_345),
        ];
        for name in &names {
            assert_eq!(name.to_string().parse().as_ref(), Ok(name));
        }
        assert!(names.is_sorted());
    }

    #[test]
    fn what_leads_out_of_the_store_or_is_spelt_otherwise_is_no_name() {
        let digest = "ab".repeat(32);
        for text in [
            "",
            "/meta.db",
            "../meta.db",
            "meta.db/",
            "format",
            "lock",
            "logs.db",
            "ledger/0/../../x.seg",
            "ledger/00/1.seg",
            "ledger/0/01.seg",
            "ledger/+1/1.seg",
            "ledger/70000/1.seg",
            "ledger/0/1.log",
            "audit/00/1.seg",
            "audit/11111111111/1.seg",
            "audit/../1.seg",
            "audit/platform/+1.seg",
            "audit/platform/1.seg/x",
            "logs/1/1.log",
            "logs/0/1.log/x",
            &format!("blobs/../{}/{digest}", "ab"),
            &format!("blobs/111111111111/cd/{digest}"),
            &format!("blobs/111111111111/AB/{}", "AB".repeat(32)),
            &format!("blobs/temporary/ab/{digest}"),
        ] {
            assert_eq!(text.parse::<EntryName>(), Err(()), "{text}");
        }
    }
}
