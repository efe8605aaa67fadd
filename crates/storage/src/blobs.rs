//! Content-addressed files: named by SHA-256, written aside, synced, then renamed.

use crate::{
    failure::{Health, file_read_failed, file_write_failed},
    folder::sync_dir,
};
use bytes::Bytes;
use freehold_domain::{
    Digest, TenantId,
    ports::{CommitError, ReadError},
};
use ring::digest::{SHA256, digest};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
};

/// The blobs below one folder.
pub(crate) struct BlobFiles {
    dir: PathBuf,
    temporary: PathBuf,
    next: AtomicU64,
    /// How many want every blob to stay.
    held: AtomicUsize,
    health: Arc<Health>,
}

/// Keeps every blob until it is dropped.
pub(crate) struct Hold<'a>(&'a BlobFiles);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, SeqCst);
    }
}

impl BlobFiles {
    /// Opens the folder and removes what an earlier process did not finish.
    pub(crate) fn open(dir: PathBuf, health: Arc<Health>) -> io::Result<Self> {
        let temporary = dir.join("temporary");
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        fs::create_dir_all(&temporary)?;
        Ok(Self {
            dir,
            temporary,
            next: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            health,
        })
    }

    fn folder(&self, tenant: &TenantId, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.dir.join(tenant.as_str()).join(&name[..2])
    }

    /// Stores `bytes`; they are on disk when this returns.
    pub(crate) fn put(&self, tenant: &TenantId, bytes: &Bytes) -> Result<Digest, CommitError> {
        self.health.check()?;
        let digest = sha256(bytes);
        let folder = self.folder(tenant, digest);
        let path = folder.join(digest.to_string());
        // What is there counts only if it is right: a damaged file is written anew. Its name may
        // be younger than the last sync, so that is not skipped.
        if matches!(fs::read(&path), Ok(found) if sha256(&found) == digest) {
            return self.sync_names(&folder, &path).map(|()| digest);
        }
        let temporary = self
            .temporary
            .join(self.next.fetch_add(1, Relaxed).to_string());
        let result = self.write(bytes, &temporary, &folder, &path);
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        result.map(|()| digest)
    }

    fn write(
        &self,
        bytes: &Bytes,
        temporary: &Path,
        folder: &Path,
        path: &Path,
    ) -> Result<(), CommitError> {
        let failed = |error: io::Error| file_write_failed(path, &error);
        let mut file = File::create_new(temporary).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        self.synced(path, file.sync_all())?;
        fs::create_dir_all(folder).map_err(failed)?;
        fs::rename(temporary, path).map_err(failed)?;
        self.sync_names(folder, path)
    }

    fn sync_names(&self, folder: &Path, path: &Path) -> Result<(), CommitError> {
        let tenant = folder.parent().unwrap_or(&self.dir);
        [folder, tenant, &self.dir]
            .into_iter()
            .try_for_each(|dir| self.synced(path, sync_dir(dir)))
    }

    /// "No space" may come as late as the sync; anything else there means lost writes.
    fn synced(&self, path: &Path, result: io::Result<()>) -> Result<(), CommitError> {
        result.map_err(|error| {
            let failure = file_write_failed(path, &error);
            if failure != CommitError::DiskFull {
                let path = path.display();
                self.health
                    .poison(format!("fsync of {path} failed: {error}"));
            }
            failure
        })
    }

    /// Reads a blob and checks what it read.
    pub(crate) fn get(
        &self,
        tenant: &TenantId,
        digest: Digest,
    ) -> Result<Option<Bytes>, ReadError> {
        let path = self.folder(tenant, digest).join(digest.to_string());
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_read_failed(&path, &error)),
        };
        let found = sha256(&bytes);
        if found == digest {
            return Ok(Some(bytes.into()));
        }
        Err(ReadError::Failed {
            reason: format!(
                "{} is damaged: its bytes have the digest {found}",
                path.display()
            ),
        })
    }

    /// Lets no blob be removed for as long as the hold lives.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.held.fetch_add(1, SeqCst);
        Hold(self)
    }

    /// Removes a blob, if it is there.
    ///
    /// Errors: [`CommitError::Unavailable`] while a backup reads blobs.
    pub(crate) fn remove(&self, tenant: &TenantId, digest: Digest) -> Result<(), CommitError> {
        if self.held.load(SeqCst) > 0 {
            return Err(CommitError::Unavailable {
                reason: "a backup is being made, and packages stay until it is done".to_owned(),
            });
        }
        let path = self.folder(tenant, digest).join(digest.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(file_write_failed(&path, &error))
            }
            _ => Ok(()),
        }
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    let found = digest(&SHA256, bytes);
    Digest(found.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}
