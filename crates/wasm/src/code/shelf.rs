//! Code in memory, kept for the next instance: made once however many ask, least used dropped
//! first once nobody runs it.
//!
//! Whoever waits here holds nothing: a module is read once it is its turn to be compiled, a
//! compiled file once it is its turn to be loaded. Who waits for a compilation, and what is loaded,
//! is counted per tenant and in all, and turned away beyond its limit.

use super::{Code, Worlds};
use crate::{
    compile::{Compile, Compiled, too_large},
    compiled::CompiledFiles,
    limits::{
        CODE_BYTES_MAX, CODE_BYTES_PER_TENANT_MAX, CODE_KEPT_BYTES, COMPILES_AT_ONCE,
        COMPILES_WAITING_MAX, COMPILES_WAITING_PER_TENANT_MAX, LOADS_AT_ONCE, MODULE_BYTES_MAX,
    },
    shares::{Full, Shares, Taken},
};
use freehold_domain::{
    ids::{Digest, TenantId},
    ports::{CodeError, GuestCode},
};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::{collections::HashMap, fs::File, io::Read, os::fd::AsFd, sync::Arc};
use tokio::sync::{OnceCell, Semaphore};

/// See the module.
pub(crate) struct Shelf {
    worlds: Arc<Worlds>,
    files: Arc<CompiledFiles>,
    compiler: Arc<dyn Compile>,
    kept_bytes: u64,
    /// Compilations that wait or run.
    waiting: Shares,
    compiles: Semaphore,
    loads: Semaphore,
    /// Bytes of code, in use or kept.
    loaded: Shares,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    uses: u64,
    books: HashMap<Title, Book>,
}

type Title = (TenantId, Digest, String);

struct Book {
    code: Arc<OnceCell<Arc<Code>>>,
    used: u64,
}

impl Shelf {
    pub(crate) fn new(worlds: Worlds, files: CompiledFiles, compiler: Arc<dyn Compile>) -> Self {
        Self {
            worlds: Arc::new(worlds),
            files: Arc::new(files),
            compiler,
            kept_bytes: CODE_KEPT_BYTES,
            waiting: Shares::new(COMPILES_WAITING_MAX, COMPILES_WAITING_PER_TENANT_MAX),
            compiles: Semaphore::new(COMPILES_AT_ONCE),
            loads: Semaphore::new(LOADS_AT_ONCE),
            loaded: Shares::new(CODE_BYTES_MAX, CODE_BYTES_PER_TENANT_MAX),
            state: Mutex::default(),
        }
    }

    /// The code, from memory, from its compiled file or from its module, in this order.
    pub(crate) async fn get(&self, of: &GuestCode) -> Result<Arc<Code>, CodeError> {
        plain(&of.file)?;
        let title = (of.tenant.clone(), of.package, of.file.clone());
        let cell = {
            let mut state = self.state.lock();
            state.uses += 1;
            let used = state.uses;
            let book = state.books.entry(title.clone()).or_insert_with(|| Book {
                code: Arc::default(),
                used,
            });
            book.used = used;
            book.code.clone()
        };
        if let Some(code) = cell.get() {
            return Ok(code.clone());
        }
        let code = cell.get_or_try_init(|| self.make(of)).await.cloned();
        drop(cell);
        let mut state = self.state.lock();
        if code.is_err() {
            // Nothing to keep, unless somebody tries again already.
            let is_idle = |book: &Book| Arc::strong_count(&book.code) == 1;
            if state.books.get(&title).is_some_and(is_idle) {
                state.books.remove(&title);
            }
        }
        state.make_room(self.kept_bytes, None);
        code
    }

    async fn make(&self, of: &GuestCode) -> Result<Arc<Code>, CodeError> {
        if let Some(code) = self.load_file(of).await? {
            return Ok(Arc::new(code));
        }
        let waiting = self.waiting.of(&of.tenant).take(1);
        let _waiting = waiting.map_err(|full| busy(full, "code that waits to be compiled"))?;
        let _turn = self.compiles.acquire().await.map_err(|e| failed(&e))?;
        let code = of.clone();
        let module = off_the_cores(move || read_module(&code)).await??;
        let compiled = self.compiler.compile(module).await?;
        let _load = self.loads.acquire().await.map_err(|e| failed(&e))?;
        let room = self.room(of, &compiled)?;
        let (worlds, files, of) = (self.worlds.clone(), self.files.clone(), of.clone());
        let loaded = off_the_cores(move || {
            let code = worlds.load(&compiled, room)?;
            // A start without the file compiles again: slower, and no failure.
            if let Err(error) = files.write(&of, &compiled) {
                tracing::warn!(%error, "a compiled module could not be kept");
            }
            Ok(code)
        });
        loaded.await?.map(Arc::new)
    }

    /// From its compiled file, where there is one that still loads; else it is compiled again.
    async fn load_file(&self, of: &GuestCode) -> Result<Option<Code>, CodeError> {
        let _load = self.loads.acquire().await.map_err(|e| failed(&e))?;
        let (files, code) = (self.files.clone(), of.clone());
        let Some(compiled) = off_the_cores(move || files.read(&code)).await? else {
            return Ok(None);
        };
        let (worlds, room) = (self.worlds.clone(), self.room(of, &compiled)?);
        off_the_cores(move || worlds.load(&compiled, room).ok()).await
    }

    /// Room for what is about to be loaded; code that nobody uses makes way for it.
    fn room(&self, of: &GuestCode, compiled: &Compiled) -> Result<Taken, CodeError> {
        let bytes = compiled.code.len() as u64;
        let share = self.loaded.of(&of.tenant);
        for _ in 0..2 {
            let full = match share.take(bytes) {
                Ok(room) => return Ok(room),
                Err(full) => full,
            };
            let whose = (full == Full::Tenant).then_some(&of.tenant);
            let keep = self.loaded.most(full).saturating_sub(bytes);
            self.state.lock().make_room(keep, whose);
        }
        let room = share.take(bytes);
        room.map_err(|full| busy(full, "code in memory"))
    }
}

impl State {
    /// Drops what nobody uses, the longest unused first, until the rest is within `kept_bytes`: of
    /// all, or of one tenant's.
    fn make_room(&mut self, kept_bytes: u64, tenant: Option<&TenantId>) {
        let bytes = |book: &Book| book.code.get().map_or(0, |code| code.bytes);
        let is_meant = |title: &Title| tenant.is_none_or(|tenant| title.0 == *tenant);
        let meant = self.books.iter().filter(|(title, _)| is_meant(title));
        let mut total: u64 = meant.map(|(_, book)| bytes(book)).sum();
        if total <= kept_bytes {
            return;
        }
        let is_idle = |book: &Book| {
            Arc::strong_count(&book.code) == 1
                && book
                    .code
                    .get()
                    .is_some_and(|code| Arc::strong_count(code) == 1)
        };
        let mut idle: Vec<_> = self
            .books
            .iter()
            .filter(|(title, book)| is_meant(title) && is_idle(book))
            .map(|(title, book)| (book.used, bytes(book), title.clone()))
            .collect();
        idle.sort();
        for (_, bytes, title) in idle {
            if total <= kept_bytes {
                break;
            }
            self.books.remove(&title);
            total -= bytes;
        }
    }
}

/// Loading copies megabytes and maps them: nothing for a thread that serves.
async fn off_the_cores<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CodeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| failed(&error))
}

/// One file has one name, so that it is loaded once.
fn plain(file: &str) -> Result<(), CodeError> {
    if !file.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Ok(());
    }
    Err(CodeError::Refused {
        reason: format!(
            "the package has no file {file:?}, which the handler names: it is a path within the \
             package, without empty parts, `.` and `..`"
        ),
    })
}

/// The module's bytes, by a name that cannot leave its package.
fn read_module(code: &GuestCode) -> Result<Vec<u8>, CodeError> {
    let refused = |reason: String| CodeError::Refused { reason };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = openat2(code.tree.as_fd(), &code.file, flags, Mode::empty(), resolve);
    let file = File::from(opened.map_err(|error| {
        refused(format!(
            "the package has no file {:?}, which the handler names: {error}",
            code.file
        ))
    })?);
    let about = file.metadata().map_err(|error| failed(&error))?;
    if !about.is_file() {
        return Err(refused(format!("{:?} is not a file", code.file)));
    }
    let mut module = Vec::new();
    let read = file.take(MODULE_BYTES_MAX + 1).read_to_end(&mut module);
    read.map_err(|error| failed(&error))?;
    if module.len() as u64 > MODULE_BYTES_MAX {
        return Err(refused(too_large()));
    }
    Ok(module)
}

fn failed(error: &dyn std::error::Error) -> CodeError {
    CodeError::Failed {
        reason: error.to_string(),
        is_busy: false,
    }
}

fn busy(full: Full, what: &str) -> CodeError {
    let whose = match full {
        Full::Tenant => "the tenant",
        Full::Node => "the node",
    };
    CodeError::Failed {
        reason: format!("{whose} has too much {what}; try again later"),
        is_busy: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compile::InThisProcess, engine};

    #[tokio::test]
    async fn loaded_code_has_a_limit_and_what_nobody_uses_makes_way() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine::for_running().unwrap();
        let worlds = Worlds::new(&engine).unwrap();
        let files = CompiledFiles::open(dir.path().join("compiled"), &[7; 32], &engine).unwrap();
        let module = wat::parse_str("(module (func (export \"_start\")))").unwrap();
        for file in ["one.wasm", "other.wasm"] {
            std::fs::write(dir.path().join(file), &module).unwrap();
        }
        let tree = Arc::new(File::open(dir.path()).unwrap().into());
        let code = |file: &str| GuestCode {
            tenant: "123456789012".parse().unwrap(),
            package: Digest([7; 32]),
            tree: Arc::clone(&tree),
            file: file.to_owned(),
        };
        let mut shelf = Shelf::new(worlds, files, Arc::new(InThisProcess));
        let one = shelf.get(&code("one.wasm")).await.unwrap();
        let bytes = one.bytes;
        drop(one);
        shelf.state.lock().make_room(0, None);
        // Room for one of the two.
        shelf.loaded = Shares::new(bytes + bytes / 2, bytes + bytes / 2);
        let one = shelf.get(&code("one.wasm")).await.unwrap();
        let other = shelf.get(&code("other.wasm")).await;
        let is_busy = matches!(other, Err(CodeError::Failed { is_busy: true, .. }));
        assert!(is_busy, "loaded beyond the limit");
        drop(one);
        assert!(shelf.get(&code("other.wasm")).await.is_ok());
    }
}
