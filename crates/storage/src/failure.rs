//! What failures of disk and SQLite mean to a caller, and the store's health.

use freehold_domain::{
    Principal, TenantId,
    ports::{CommitError, ReadError},
};
use rusqlite::{ErrorCode, ffi};
use std::{io, path::Path, sync::OnceLock};

/// Set once, by a failed `fsync`: from then on nothing is acknowledged.
#[derive(Default)]
pub(crate) struct Health(OnceLock<String>);

impl Health {
    /// Stops all acknowledging, with the reason; the first reason stays.
    pub(crate) fn poison(&self, reason: String) {
        if self.0.set(reason.clone()).is_ok() {
            tracing::error!(
                reason,
                "the store stops acknowledging writes until a restart"
            );
        }
    }

    /// Errors: [`CommitError::Failed`] with the reason, once poisoned.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        self.0.get().map_or(Ok(()), |reason| {
            Err(CommitError::Failed {
                reason: format!("no write is acknowledged until a restart: {reason}"),
            })
        })
    }
}

/// Whether SQLite reports that what it wrote may not be on disk.
fn lost_a_sync(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::SqliteFailure(ffi::Error { extended_code, .. }, _)
            if matches!(*extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)
    )
}

/// Whether SQLite found no room. The shared memory of a database grows by `ftruncate` and writes,
/// whose "no space" it calls an IO error of its own.
pub(crate) fn is_full_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::SqliteFailure(cause, _)
            if cause.code == ErrorCode::DiskFull
                || cause.extended_code == ffi::SQLITE_IOERR_SHMSIZE
    )
}

/// A failed write, as its caller sees it.
pub(crate) fn write_failed(health: &Health, error: &rusqlite::Error) -> CommitError {
    if lost_a_sync(error) {
        health.poison(format!("fsync failed: {error}"));
    }
    match is_full_disk(error) {
        true => CommitError::DiskFull,
        false => CommitError::Failed {
            reason: error.to_string(),
        },
    }
}

/// A failed write to `path`, as its caller sees it.
pub(crate) fn file_write_failed(path: &Path, error: &io::Error) -> CommitError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CommitError::DiskFull,
        _ => CommitError::Failed {
            reason: format!("could not write {}: {error}", path.display()),
        },
    }
}

/// A failed read of a database.
pub(crate) fn read_failed(error: &rusqlite::Error) -> ReadError {
    ReadError::Failed {
        reason: error.to_string(),
    }
}

/// A failed read of `path`.
pub(crate) fn file_read_failed(path: &Path, error: &io::Error) -> ReadError {
    ReadError::Failed {
        reason: format!("could not read {}: {error}", path.display()),
    }
}

/// Errors: [`ReadError::Denied`] unless `who` reaches `tenant`.
pub(crate) fn may_read(who: &Principal, tenant: &TenantId) -> Result<(), ReadError> {
    if who.reaches(tenant) {
        return Ok(());
    }
    Err(ReadError::Denied {
        who: name(who),
        tenant: tenant.clone(),
    })
}

/// Errors: [`ReadError::Denied`] unless `who` is the platform itself.
pub(crate) fn platform_only(who: &Principal) -> Result<(), ReadError> {
    if matches!(who, Principal::Platform { .. }) {
        return Ok(());
    }
    Err(ReadError::Denied {
        who: name(who),
        tenant: TenantId::platform(),
    })
}

/// Errors: [`CommitError::Denied`] unless `who` is the platform itself.
pub(crate) fn platform_writes(who: &Principal) -> Result<(), CommitError> {
    if matches!(who, Principal::Platform { .. }) {
        return Ok(());
    }
    Err(CommitError::Denied {
        who: name(who),
        tenant: TenantId::platform(),
    })
}

/// Errors: [`CommitError::Denied`] unless `who` reaches `tenant`.
pub(crate) fn may_write(who: &Principal, tenant: &TenantId) -> Result<(), CommitError> {
    if who.reaches(tenant) {
        return Ok(());
    }
    Err(CommitError::Denied {
        who: name(who),
        tenant: tenant.clone(),
    })
}

/// A principal for a message: who it is, without what it signs with.
fn name(who: &Principal) -> String {
    match who {
        Principal::Platform { component } => format!("the platform's {component}"),
        Principal::Root { tenant, .. } => format!("the root of {tenant}"),
        Principal::Instance {
            tenant, function, ..
        } => format!("an instance of {function} of {tenant}"),
        Principal::Service { tenant, name, .. } => format!("{name} for {tenant}"),
        Principal::Anonymous => "an anonymous caller".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(extended_code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(extended_code), None)
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let health = Health::default();
        for full in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert_eq!(write_failed(&health, &sqlite(full)), CommitError::DiskFull);
        }
        let broken = write_failed(&health, &sqlite(ffi::SQLITE_IOERR_WRITE));
        assert!(matches!(broken, CommitError::Failed { .. }));
        assert_eq!(health.check(), Ok(()));
    }

    #[test]
    fn after_a_failed_fsync_nothing_is_acknowledged_and_the_first_reason_stays() {
        let health = Health::default();
        write_failed(&health, &sqlite(ffi::SQLITE_IOERR_FSYNC));
        health.poison("something later".to_owned());
        let Err(CommitError::Failed { reason }) = health.check() else {
            panic!("a poisoned store acknowledges nothing");
        };
        assert!(reason.contains("fsync failed"), "{reason}");
    }
}
