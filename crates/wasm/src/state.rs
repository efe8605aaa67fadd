//! What one event's store holds: the guest's view of the world, and the account of what it takes.

use crate::{
    limits::{HEADER_BYTES_MAX, RANDOM_BYTES_MAX, RESOURCES_MAX},
    output::Sink,
};
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p1::WasiP1Ctx, p2::pipe::MemoryInputPipe,
};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// What one event has taken so far; outlives its store.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Memory in use, bytes.
    pub(crate) memory_bytes: AtomicU64,
    /// The most it has been, bytes.
    pub(crate) memory_peak_bytes: AtomicU64,
    /// Processor time, ns.
    pub(crate) cpu_ns: AtomicU64,
    /// The guest asked for memory over its limit.
    pub(crate) was_refused: AtomicBool,
}

impl Meter {
    /// A new event begins; processor time goes on.
    pub(crate) fn restart(&self) {
        self.memory_bytes.store(0, Ordering::Relaxed);
        self.memory_peak_bytes.store(0, Ordering::Relaxed);
        self.was_refused.store(false, Ordering::Relaxed);
    }
}

/// Grants memory and tables up to the function's limit.
pub(crate) struct Bounds {
    limit_bytes: u64,
    used_bytes: u64,
    meter: Arc<Meter>,
}

/// Bytes of a table's element on this machine.
const ELEMENT_BYTES: usize = size_of::<usize>();

impl Bounds {
    pub(crate) fn new(limit_bytes: u64, meter: Arc<Meter>) -> Self {
        Self {
            limit_bytes,
            used_bytes: 0,
            meter,
        }
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current) as u64;
        let wanted = self.used_bytes.saturating_add(more);
        if wanted > self.limit_bytes {
            self.meter.was_refused.store(true, Ordering::Relaxed);
            return false;
        }
        self.used_bytes = wanted;
        self.meter.memory_bytes.store(wanted, Ordering::Relaxed);
        self.meter
            .memory_peak_bytes
            .fetch_max(wanted, Ordering::Relaxed);
        true
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A module's own maximum is its own affair: growing past it just fails.
        Ok(maximum.is_none_or(|most| desired <= most) && self.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(ELEMENT_BYTES);
        Ok(maximum.is_none_or(|most| desired <= most) && self.grow(bytes(current), bytes(desired)))
    }
}

/// What a guest may see of the world.
pub(crate) struct View<'a> {
    pub(crate) env: &'a [(String, String)],
    pub(crate) event_env: &'a [(String, String)],
    pub(crate) name: &'a str,
    pub(crate) stdin: Option<Bytes>,
    pub(crate) stdout: Sink,
    pub(crate) stderr: Sink,
}

impl View<'_> {
    /// No preopened folder, no socket, no name lookup: the defaults, and the tests hold them.
    fn builder(self) -> WasiCtxBuilder {
        let mut wasi = WasiCtx::builder();
        wasi.arg(self.name)
            .envs(self.env)
            .envs(self.event_env)
            .stdout(self.stdout)
            .stderr(self.stderr)
            .max_random_size(RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        if let Some(event) = self.stdin {
            wasi.stdin(MemoryInputPipe::new(event));
        }
        wasi
    }
}

/// The store's data for a core module.
pub(crate) struct CoreState {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) bounds: Bounds,
}

impl CoreState {
    pub(crate) fn new(view: View<'_>, bounds: Bounds) -> Self {
        Self {
            wasi: view.builder().build_p1(),
            bounds,
        }
    }
}

/// The store's data for a component.
pub(crate) struct ComponentState {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: NoNetwork,
    pub(crate) bounds: Bounds,
}

impl ComponentState {
    pub(crate) fn new(view: View<'_>, bounds: Bounds) -> Self {
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(HEADER_BYTES_MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self {
            wasi: view.builder().build(),
            table,
            http,
            hooks: NoNetwork,
            bounds,
        }
    }
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for ComponentState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// Outgoing requests are part of the world that a component may import, and every one is denied.
struct NoNetwork;

/// The driver of a connection, which here never comes to be.
type Drives = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for NoNetwork {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Drives,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Drives), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_tables_share_one_limit() {
        let meter = Arc::new(Meter::default());
        let mut bounds = Bounds::new(1 << 20, meter.clone());
        assert!(bounds.memory_growing(0, 1 << 19, None).unwrap());
        assert!(bounds.table_growing(0, 1 << 16, None).unwrap());
        assert!(!bounds.memory_growing(1 << 19, (1 << 19) + 1, None).unwrap());
        assert!(meter.was_refused.load(Ordering::Relaxed));
        assert_eq!(meter.memory_peak_bytes.load(Ordering::Relaxed), 1 << 20);
    }

    #[test]
    fn a_modules_own_maximum_is_no_want_of_memory() {
        let meter = Arc::new(Meter::default());
        let mut bounds = Bounds::new(1 << 20, meter.clone());
        assert!(!bounds.memory_growing(0, 2, Some(1)).unwrap());
        assert!(!meter.was_refused.load(Ordering::Relaxed));
    }
}
