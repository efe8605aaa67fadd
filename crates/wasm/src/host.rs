//! The node's WebAssembly: its engine, its threads, its code, and the seats it hands out.

use crate::{
    code::{Shelf, Worlds},
    compile::Compile,
    compiled::CompiledFiles,
    engine,
    instance::Seat,
    limits::{MEMORY_DIVISOR, MEMORY_TENANT_DIVISOR, PLACES_MAX, PLACES_PER_TENANT_MAX},
    shares::Shares,
    slices::{LongRunners, Ticker},
};
use freehold_domain::{
    BoxFuture,
    answers::Answers,
    ids::{Digest, Mebibytes},
    ports::{CodeError, GuestCode, InProcess, InProcessInstance, InProcessSpec},
    runtime::{RuntimeFamily, RuntimeRow, WASM_RUNTIME},
};
use ring::digest;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::PathBuf,
    sync::Arc,
};
use wasmtime::Engine;

/// The release line of the engine, as the workspace's manifest names it.
const ENGINE_VERSION: &str = "wasmtime-48";

/// What a host is made from.
pub struct HostParts {
    /// `<data>/compiled`; made where it is missing.
    pub compiled: PathBuf,
    /// The node's sealing key: compiled files are sealed with a key derived from it.
    pub key: [u8; 32],
    /// Compiles modules.
    pub compiler: Arc<dyn Compile>,
    /// Threads for guests that compute; the node's cores.
    pub threads: usize,
    /// Memory that the node has for functions, bytes; the machine's where nobody says. Guests in
    /// here get a part of it ([`MEMORY_DIVISOR`]).
    pub functions_memory_bytes: Option<u64>,
    /// Room for large answers.
    pub answers: Arc<Answers>,
}

fn machine_bytes() -> u64 {
    let about = rustix::system::sysinfo();
    // Its width is the machine's.
    let units: u64 = about.totalram as _;
    units.saturating_mul(about.mem_unit.into())
}

/// Why a node runs no WebAssembly.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine cannot be made, for want of addresses most likely.
    #[error("the engine cannot be made: {reason}")]
    Engine {
        /// What the runtime says.
        reason: String,
    },
    /// The folder of compiled files cannot be used.
    #[error("the folder {} cannot be used", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
}

/// Runs WebAssembly functions; see the crate.
pub struct WasmHost {
    shelf: Shelf,
    shared: Arc<Shared>,
}

/// What every seat uses.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) long_runners: LongRunners,
    /// Places of the pool.
    pub(crate) places: Shares,
    /// Memory of guests, bytes.
    pub(crate) memory: Shares,
    /// Room for large answers.
    pub(crate) answers: Arc<Answers>,
}

impl WasmHost {
    /// Reserves the pool and starts the threads.
    ///
    /// Errors: [`HostError`]; the node does without WebAssembly then.
    pub fn new(parts: HostParts) -> Result<Arc<Self>, HostError> {
        let failed = |error: wasmtime::Error| HostError::Engine {
            reason: format!("{error:#}"),
        };
        let functions_bytes = parts.functions_memory_bytes.unwrap_or_else(machine_bytes);
        let memory_bytes = functions_bytes / MEMORY_DIVISOR;
        let engine = engine::for_running().map_err(failed)?;
        let worlds = Worlds::new(&engine).map_err(failed)?;
        let files = CompiledFiles::open(parts.compiled.clone(), &parts.key, &engine);
        let files = files.map_err(|source| HostError::Folder {
            path: parts.compiled,
            source,
        })?;
        let ticker = Ticker::start(&engine).map_err(HostError::Thread)?;
        let long_runners = LongRunners::start(parts.threads).map_err(HostError::Thread)?;
        Ok(Arc::new(Self {
            shelf: Shelf::new(worlds, files, parts.compiler),
            shared: Arc::new(Shared {
                engine,
                ticker: Arc::new(ticker),
                long_runners,
                places: Shares::new(PLACES_MAX.into(), PLACES_PER_TENANT_MAX.into()),
                memory: Shares::new(memory_bytes, memory_bytes / MEMORY_TENANT_DIVISOR),
                answers: parts.answers,
            }),
        }))
    }
}

impl WasmHost {
    /// The runtime's row: no tree and no program, and a digest that names the engine.
    pub fn runtime_row(&self) -> RuntimeRow {
        let mut hasher = DefaultHasher::new();
        self.shared
            .engine
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        let engine = hasher.finish().to_le_bytes();
        let digest = digest::digest(&digest::SHA256, &engine);
        RuntimeRow {
            id: 0,
            name: WASM_RUNTIME.parse().expect("a name of ours is one"),
            family: RuntimeFamily::Wasm,
            version: ENGINE_VERSION.to_owned(),
            digest: Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes")),
            root: PathBuf::new(),
            mounts: Vec::new(),
            argv: Vec::new(),
            env: Vec::new(),
        }
    }
}

impl InProcess for WasmHost {
    fn prepare(&self, code: GuestCode, memory: Mebibytes) -> BoxFuture<'_, Result<(), CodeError>> {
        Box::pin(async move { self.shelf.get(&code).await?.fits(memory) })
    }

    fn start(&self, spec: InProcessSpec) -> BoxFuture<'_, Result<InProcessInstance, CodeError>> {
        Box::pin(async move {
            let code = self.shelf.get(&spec.code).await?;
            code.fits(spec.memory)?;
            let seat = Arc::new(Seat::new(self.shared.clone(), code, spec));
            Ok(InProcessInstance {
                instance: seat.clone(),
                link: seat,
            })
        })
    }
}
