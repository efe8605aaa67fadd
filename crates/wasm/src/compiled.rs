//! Compiled modules on disk: a cache that can always be made again, and is executed.
//!
//! ```text
//! <data>/compiled/<name>.code     seal (32 bytes) · name (64) · kind (1) · machine code
//! <data>/compiled/<name>.tmp-<n>  being written; removed at the next start
//! ```
//!
//! The folder lies beside the packages and never among them: no archive can bring a file here. A
//! file's name is made of tenant, package, file and engine; its seal is an HMAC over all that follows
//! it, with a key that is derived from the node's sealing key. So a file that was
//! damaged, planted, swapped with another tenant's or left by another engine is no cache hit, and
//! is made anew. It is read into memory whole, verified there, and loaded from there: nobody changes
//! it between the check and the use.

use crate::{
    compile::Compiled,
    limits::{COMPILED_BYTES_MAX, COMPILED_KEPT_BYTES},
};
use freehold_domain::ports::GuestCode;
use ring::{digest, hmac};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};
use wasmtime::Engine;

const SEAL_BYTES: usize = 32;
const NAME_BYTES: usize = 64;
const HEAD_BYTES: usize = SEAL_BYTES + NAME_BYTES + 1;

/// See the module.
pub(crate) struct CompiledFiles {
    dir: PathBuf,
    key: hmac::Key,
    /// What the engine demands of machine code.
    engine: u64,
    kept_bytes: u64,
    writes: AtomicU64,
}

impl CompiledFiles {
    /// Opens the folder, and removes what a crash left half-written.
    pub(crate) fn open(dir: PathBuf, key: &[u8; 32], engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|kind| kind != "code") {
                fs::remove_file(path)?;
            }
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let derived = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, key),
            b"freehold compiled modules, version 1",
        );
        Ok(Self {
            dir,
            key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
            engine: hasher.finish(),
            kept_bytes: COMPILED_KEPT_BYTES,
            writes: AtomicU64::new(0),
        })
    }

    /// The name of what `code` becomes.
    fn name(&self, code: &GuestCode) -> String {
        let mut name = digest::Context::new(&digest::SHA256);
        for part in [
            code.tenant.as_str().as_bytes(),
            &code.package.0,
            code.file.as_bytes(),
            &self.engine.to_le_bytes(),
        ] {
            name.update(&(part.len() as u64).to_le_bytes());
            name.update(part);
        }
        let name = name.finish();
        name.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.code"))
    }

    /// What `code` was compiled to; `None` where there is no file that carries our seal.
    pub(crate) fn read(&self, code: &GuestCode) -> Option<Compiled> {
        let name = self.name(code);
        let file = fs::File::open(self.path(&name)).ok()?;
        let most = COMPILED_BYTES_MAX + HEAD_BYTES as u64;
        let mut bytes = Vec::with_capacity(file.metadata().ok()?.len().min(most) as usize);
        (&file).take(most + 1).read_to_end(&mut bytes).ok()?;
        let (seal, content) = bytes.split_at_checked(SEAL_BYTES)?;
        if hmac::verify(&self.key, content, seal).is_err() || !content.starts_with(name.as_bytes())
        {
            tracing::warn!(
                file = name,
                "a compiled module does not carry this node's seal"
            );
            return None;
        }
        let is_component = match content.get(NAME_BYTES)? {
            0 => false,
            1 => true,
            _ => return None,
        };
        // The longest unused go first.
        let _ = file.set_modified(SystemTime::now());
        bytes.drain(..HEAD_BYTES);
        Some(Compiled {
            is_component,
            code: bytes,
        })
    }

    /// Keeps what `code` was compiled to.
    pub(crate) fn write(&self, code: &GuestCode, compiled: &Compiled) -> io::Result<()> {
        let name = self.name(code);
        let mut content = Vec::with_capacity(HEAD_BYTES + compiled.code.len());
        content.extend_from_slice(name.as_bytes());
        content.push(u8::from(compiled.is_component));
        content.extend_from_slice(&compiled.code);
        self.make_room(content.len() as u64)?;
        let turn = self.writes.fetch_add(1, Ordering::Relaxed);
        let aside = self.dir.join(format!("{name}.tmp-{turn}"));
        let write = || {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&aside)?;
            file.write_all(hmac::sign(&self.key, &content).as_ref())?;
            file.write_all(&content)?;
            fs::rename(&aside, self.path(&name))
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&aside);
        })
    }

    /// Removes the longest unused files until `more` bytes fit.
    fn make_room(&self, more: u64) -> io::Result<()> {
        let mut files = Vec::new();
        let mut total = more;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // One that is gone meanwhile takes no room.
            let Ok(about) = entry.metadata() else {
                continue;
            };
            total += about.len();
            files.push((about.modified()?, about.len(), entry.path()));
        }
        files.sort();
        for (_, bytes, path) in files {
            if total <= self.kept_bytes {
                break;
            }
            fs::remove_file(path)?;
            total -= bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;
    use freehold_domain::Digest;
    use std::sync::Arc;

    fn code(tenant: &str, file: &str) -> GuestCode {
        let tree = fs::File::open("/").unwrap();
        GuestCode {
            tenant: tenant.parse().unwrap(),
            package: Digest([7; 32]),
            tree: Arc::new(tree.into()),
            file: file.to_owned(),
        }
    }

    fn compiled(bytes: usize) -> Compiled {
        Compiled {
            is_component: true,
            code: vec![9; bytes],
        }
    }

    fn files(kept_bytes: u64) -> (tempfile::TempDir, CompiledFiles) {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine::for_compiling().unwrap();
        let path = dir.path().join("compiled");
        let files = CompiledFiles::open(path, &[1; 32], &engine).unwrap();
        (
            dir,
            CompiledFiles {
                kept_bytes,
                ..files
            },
        )
    }

    const ONE: &str = "111111111111";
    const OTHER: &str = "222222222222";

    #[test]
    fn what_was_written_is_read_by_its_owner_alone() {
        let (_dir, files) = files(1 << 20);
        files.write(&code(ONE, "f.wasm"), &compiled(10)).unwrap();
        assert_eq!(files.read(&code(ONE, "f.wasm")), Some(compiled(10)));
        assert_eq!(files.read(&code(ONE, "g.wasm")), None);
        assert_eq!(files.read(&code(OTHER, "f.wasm")), None);
    }

    #[test]
    fn a_file_without_our_seal_is_none() {
        let (_dir, files) = files(1 << 20);
        let mine = code(ONE, "f.wasm");
        files.write(&mine, &compiled(10)).unwrap();
        let path = files.path(&files.name(&mine));
        let good = fs::read(&path).unwrap();
        for at in [0, SEAL_BYTES, HEAD_BYTES - 1, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            assert_eq!(files.read(&mine), None, "byte {at}");
        }
        fs::write(&path, &good[..SEAL_BYTES - 1]).unwrap();
        assert_eq!(files.read(&mine), None);
        // Whole and sealed, but for another tenant.
        let other = code(OTHER, "f.wasm");
        fs::write(files.path(&files.name(&other)), &good).unwrap();
        assert_eq!(files.read(&other), None);
        fs::write(&path, &good).unwrap();
        assert_eq!(files.read(&mine), Some(compiled(10)));
    }

    #[test]
    fn the_longest_unused_make_room() {
        let (_dir, files) = files(2 * (HEAD_BYTES as u64 + 90) + 10);
        let names = ["a", "b", "c"].map(|name| code(ONE, name));
        for (at, name) in names[..2].iter().enumerate() {
            files.write(name, &compiled(90)).unwrap();
            let used = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at as u64);
            let file = fs::File::open(files.path(&files.name(name))).unwrap();
            file.set_modified(used).unwrap();
        }
        files.write(&names[2], &compiled(90)).unwrap();
        assert_eq!(files.read(&names[0]), None);
        assert!(files.read(&names[1]).is_some() && files.read(&names[2]).is_some());
    }
}
