//! Code in memory, kept for the next instance: made once however many ask, least used dropped
//! first once nobody runs it.

use super::{Code, Worlds};
use crate::{
    compile::{Compile, too_large},
    compiled::CompiledFiles,
    limits::{CODE_KEPT_BYTES, MODULE_BYTES_MAX},
};
use freehold_domain::{
    ids::{Digest, TenantId},
    ports::{CodeError, GuestCode},
};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::{collections::HashMap, fs::File, io::Read, os::fd::AsFd, sync::Arc};
use tokio::sync::OnceCell;

/// See the module.
pub(crate) struct Shelf {
    worlds: Arc<Worlds>,
    files: Arc<CompiledFiles>,
    compiler: Arc<dyn Compile>,
    kept_bytes: u64,
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
            state: Mutex::default(),
        }
    }

    /// The code, from memory, from its compiled file or from its module, in this order.
    pub(crate) async fn get(&self, of: &GuestCode) -> Result<Arc<Code>, CodeError> {
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
        state.make_room(self.kept_bytes);
        code
    }

    async fn make(&self, of: &GuestCode) -> Result<Arc<Code>, CodeError> {
        let (worlds, files, code) = (self.worlds.clone(), self.files.clone(), of.clone());
        let found = off_the_cores(move || {
            let compiled = files.read(&code)?;
            // One that does not load any more is compiled again.
            worlds.load(&compiled).ok()
        });
        if let Some(code) = found.await? {
            return Ok(Arc::new(code));
        }
        let code = of.clone();
        let module = off_the_cores(move || read_module(&code)).await??;
        let compiled = self.compiler.compile(module).await?;
        let (worlds, files, of) = (self.worlds.clone(), self.files.clone(), of.clone());
        let loaded = off_the_cores(move || {
            let code = worlds.load(&compiled)?;
            // A start without the file compiles again: slower, and no failure.
            if let Err(error) = files.write(&of, &compiled) {
                tracing::warn!(%error, "a compiled module could not be kept");
            }
            Ok(code)
        });
        loaded.await?.map(Arc::new)
    }
}

impl State {
    /// Drops what nobody uses, the longest unused first, until the rest is within `kept_bytes`.
    fn make_room(&mut self, kept_bytes: u64) {
        let bytes = |book: &Book| book.code.get().map_or(0, |code| code.bytes);
        let mut total: u64 = self.books.values().map(bytes).sum();
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
            .filter(|(_, book)| is_idle(book))
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
    }
}
