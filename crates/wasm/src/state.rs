//! What one event's store holds: the guest's view of the world, and the account of what it takes.

use crate::{
    limits::{
        CHUNK_BYTES_MAX, HEADER_BYTES_MAX, RANDOM_BYTES_MAX, RESOURCES_MAX, SLICE_MEMORY_BYTES,
    },
    output::Sink,
    shares::Taken,
    slices::UsedUp,
};
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use wasmtime::{ResourceLimiterAsync, component::ResourceTable};
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, async_trait, p1::WasiP1Ctx,
    p2::pipe::MemoryInputPipe,
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
    /// It asked for memory within its limit, and the node had none left for it.
    pub(crate) found_no_room: AtomicBool,
}

impl Meter {
    /// A new event begins; processor time goes on.
    pub(crate) fn restart(&self) {
        self.memory_bytes.store(0, Ordering::Relaxed);
        self.memory_peak_bytes.store(0, Ordering::Relaxed);
        self.was_refused.store(false, Ordering::Relaxed);
        self.found_no_room.store(false, Ordering::Relaxed);
    }
}

/// Grants memory and tables up to the function's limit, from what the node and the tenant have left.
pub(crate) struct Bounds {
    limit_bytes: u64,
    used_bytes: u64,
    /// Given back with the store.
    taken: Taken,
    meter: Arc<Meter>,
    used_up: UsedUp,
}

/// Bytes of a table's element on this machine.
const ELEMENT_BYTES: usize = size_of::<usize>();

impl Bounds {
    /// `taken` is of the guests' memory, nothing yet; `used_up` is the guest's slice.
    pub(crate) fn new(limit_bytes: u64, taken: Taken, meter: Arc<Meter>, used_up: UsedUp) -> Self {
        Self {
            limit_bytes,
            used_bytes: 0,
            taken,
            meter,
            used_up,
        }
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current) as u64;
        let wanted = self.used_bytes.saturating_add(more);
        if wanted > self.limit_bytes {
            self.meter.was_refused.store(true, Ordering::Relaxed);
            return false;
        }
        if self.taken.more(more).is_err() {
            self.meter.found_no_room.store(true, Ordering::Relaxed);
            return false;
        }
        self.used_bytes = wanted;
        self.meter.memory_bytes.store(wanted, Ordering::Relaxed);
        self.meter
            .memory_peak_bytes
            .fetch_max(wanted, Ordering::Relaxed);
        true
    }

    /// A guest with much memory leaves the core that serves before it can touch it.
    async fn leave_the_core(&self) {
        if self.used_bytes > SLICE_MEMORY_BYTES && !self.used_up.swap(true, Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl ResourceLimiterAsync for Bounds {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A module's own maximum is its own affair: growing past it just fails.
        let may = maximum.is_none_or(|most| desired <= most) && self.grow(current, desired);
        self.leave_the_core().await;
        Ok(may)
    }

    async fn table_growing(
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

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        // What is on its way to the answer's account is nobody's.
        CHUNK_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::Shares;
    use std::{pin::pin, task::Context};

    fn bounds(node_bytes: u64, limit_bytes: u64) -> (Shares, Bounds) {
        let shares = Shares::new(node_bytes, node_bytes);
        let taken = shares.of(&"123456789012".parse().unwrap()).take(0).unwrap();
        let bounds = Bounds::new(limit_bytes, taken, Arc::default(), UsedUp::default());
        (shares, bounds)
    }

    #[tokio::test]
    async fn memory_and_tables_share_one_limit() {
        let (_node, mut bounds) = bounds(1 << 30, 1 << 20);
        assert!(bounds.memory_growing(0, 1 << 19, None).await.unwrap());
        assert!(bounds.table_growing(0, 1 << 16, None).await.unwrap());
        let over = bounds.memory_growing(1 << 19, (1 << 19) + 1, None).await;
        assert!(!over.unwrap());
        assert!(bounds.meter.was_refused.load(Ordering::Relaxed));
        let peak = bounds.meter.memory_peak_bytes.load(Ordering::Relaxed);
        assert_eq!(peak, 1 << 20);
    }

    #[tokio::test]
    async fn a_modules_own_maximum_is_no_want_of_memory() {
        let (_node, mut bounds) = bounds(1 << 30, 1 << 20);
        assert!(!bounds.memory_growing(0, 2, Some(1)).await.unwrap());
        assert!(!bounds.meter.was_refused.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn guests_share_what_the_node_has_and_give_it_back() {
        let (node, mut one) = bounds(1 << 20, 1 << 30);
        assert!(one.memory_growing(0, 1 << 20, None).await.unwrap());
        let other = node.of(&"210987654321".parse().unwrap());
        assert!(other.take(1).is_err());
        assert!(
            !one.memory_growing(1 << 20, (1 << 20) + 1, None)
                .await
                .unwrap()
        );
        assert!(one.meter.found_no_room.load(Ordering::Relaxed));
        assert!(!one.meter.was_refused.load(Ordering::Relaxed));
        drop(one);
        assert!(other.take(1 << 20).is_ok());
    }

    #[test]
    fn a_guest_with_much_memory_gives_way_once() {
        let (_node, mut bounds) = bounds(1 << 40, 1 << 40);
        let mut is_ready = |from: u64, to: u64| {
            let mut grown = pin!(bounds.memory_growing(from as usize, to as usize, None));
            let mut context = Context::from_waker(std::task::Waker::noop());
            grown.as_mut().poll(&mut context).is_ready()
        };
        assert!(is_ready(0, SLICE_MEMORY_BYTES));
        assert!(!is_ready(SLICE_MEMORY_BYTES, SLICE_MEMORY_BYTES + 1));
        assert!(is_ready(SLICE_MEMORY_BYTES + 1, SLICE_MEMORY_BYTES + 2));
        assert!(bounds.used_up.load(Ordering::Relaxed));
    }
}
