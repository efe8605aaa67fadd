//! Code that is ready to run: loaded, judged against what there is to import, linked once.

mod load;
mod shelf;

pub(crate) use shelf::Shelf;

use crate::{
    compile::Compiled,
    limits::{MEMORIES_PER_FUNCTION_MAX, MEMORY_BYTES_MAX, TABLES_PER_PLACE},
    shares::Taken,
    state::{ComponentState, CoreState},
};
use freehold_domain::{ids::Mebibytes, ports::CodeError};
use wasmtime::{Engine, InstancePre, Linker, Module, ResourcesRequired, component};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// Bytes of a page of linear memory.
const PAGE_BYTES: u64 = 64 << 10;

/// What code may import, made once.
pub(crate) struct Worlds {
    engine: Engine,
    core: Linker<CoreState>,
    component: component::Linker<ComponentState>,
}

/// Linked code: an instance of it is made by copying what was worked out here.
pub(crate) struct Code {
    pub(crate) entry: Entry,
    /// Places of the pool that one event takes.
    pub(crate) places: u32,
    /// Memory that it has from the start, bytes.
    starts_with_bytes: u64,
    /// Bytes of machine code.
    pub(crate) bytes: u64,
    /// As much of what the node may have loaded.
    _room: Taken,
}

/// Where an event goes in.
pub(crate) enum Entry {
    /// A core module's `_start`.
    Core(InstancePre<CoreState>),
    /// A component's `wasi:cli/run`.
    Command(CommandPre<ComponentState>),
    /// A component's `wasi:http/incoming-handler`.
    Http(ProxyPre<ComponentState>),
}

impl Worlds {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut core = Linker::new(engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut core, |state: &mut CoreState| &mut state.wasi)?;
        let mut component = component::Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut component)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut component)?;
        Ok(Self {
            engine: engine.clone(),
            core,
            component,
        })
    }

    /// Loads and links; `room` is given back with the code.
    ///
    /// Errors: [`CodeError::Refused`], naming the import that is not there, the export that is
    /// missing or the bound that is crossed.
    pub(crate) fn load(&self, compiled: &Compiled, room: Taken) -> Result<Code, CodeError> {
        let (entry, needs) = if compiled.is_component {
            let code = load::component(&self.engine, compiled).map_err(refused)?;
            let needs = code.resources_required();
            let needs = needs.ok_or_else(|| because("it imports modules or components"))?;
            (self.component(&code)?, needs)
        } else {
            let code = load::module(&self.engine, compiled).map_err(refused)?;
            (self.core(&code)?, code.resources_required())
        };
        if needs.num_memories > MEMORIES_PER_FUNCTION_MAX {
            return Err(because(&format!(
                "it has {} memories, and {MEMORIES_PER_FUNCTION_MAX} are the most",
                needs.num_memories
            )));
        }
        Ok(Code {
            entry,
            places: places(&needs),
            starts_with_bytes: starts_with(&needs),
            bytes: compiled.code.len() as u64,
            _room: room,
        })
    }

    fn core(&self, code: &Module) -> Result<Entry, CodeError> {
        let is_entry = |export: wasmtime::ExportType<'_>| {
            let ty = export.ty();
            let takes = ty.func().map(|f| (f.params().len(), f.results().len()));
            export.name() == "_start" && takes == Some((0, 0))
        };
        if !code.exports().any(is_entry) {
            return Err(because(
                "it is a core module without `_start`: build it as a program (a WASI command), or \
                 as a component that exports wasi:http/incoming-handler",
            ));
        }
        let pre = self.core.instantiate_pre(code).map_err(refused)?;
        Ok(Entry::Core(pre))
    }

    fn component(&self, code: &component::Component) -> Result<Entry, CodeError> {
        let pre = self.component.instantiate_pre(code).map_err(refused)?;
        if let Ok(http) = ProxyPre::new(pre.clone()) {
            return Ok(Entry::Http(http));
        }
        let command = CommandPre::new(pre).map_err(|_| {
            because(
                "it is a component that exports neither wasi:http/incoming-handler@0.2 nor \
                 wasi:cli/run@0.2",
            )
        })?;
        Ok(Entry::Command(command))
    }
}

impl Code {
    /// Whether it can start at all with this much memory.
    ///
    /// Errors: [`CodeError::Refused`] with both figures.
    pub(crate) fn fits(&self, memory: Mebibytes) -> Result<(), CodeError> {
        let (needs, has) = (self.starts_with_bytes, memory.bytes().min(MEMORY_BYTES_MAX));
        if needs <= has {
            return Ok(());
        }
        Err(because(&format!(
            "it has {} MiB of memory from the start, and its MemorySize is {} MiB",
            needs.div_ceil(1 << 20),
            memory.0
        )))
    }
}

/// So many that the pool has every memory and table of them.
fn places(needs: &ResourcesRequired) -> u32 {
    let for_tables = needs.num_tables.div_ceil(TABLES_PER_PLACE);
    needs.num_memories.max(for_tables).max(1)
}

/// An estimate from below where there are several memories: the runtime tells the largest.
fn starts_with(needs: &ResourcesRequired) -> u64 {
    let pages = needs.max_initial_memory_size.unwrap_or(0);
    pages.saturating_mul(PAGE_BYTES)
}

fn because(reason: &str) -> CodeError {
    CodeError::Refused {
        reason: reason.to_owned(),
    }
}

/// What the runtime says names the import or the bound.
fn refused(error: wasmtime::Error) -> CodeError {
    because(&format!("{error:#}"))
}
