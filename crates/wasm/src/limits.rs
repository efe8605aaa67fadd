//! The ceilings of WebAssembly functions, named, with a unit.

use std::time::Duration;

/// Bytes of a module or component.
pub const MODULE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of machine code that one module may become.
pub const COMPILED_BYTES_MAX: u64 = 256 << 20;
/// Processor time of one compilation, seconds.
pub const COMPILE_CPU_S_MAX: u64 = 60;
/// Address space of the process that compiles.
pub const COMPILE_MEMORY_BYTES_MAX: u64 = 2 << 30;
/// Time of one compilation, on the wall.
pub const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);
/// Compilations at once; more wait. One, so that a deployment never takes more than one core.
pub const COMPILES_AT_ONCE: usize = 1;
/// Compilations that may wait or run at once; more are turned away.
pub const COMPILES_WAITING_MAX: u64 = 32;
/// Of these, one tenant's.
pub const COMPILES_WAITING_PER_TENANT_MAX: u64 = 8;
/// Bytes of compiled files that are kept on disk; the longest unused go first and are made again
/// when they are needed.
pub const COMPILED_KEPT_BYTES: u64 = 4 << 30;
/// Bytes of machine code that are kept in memory without an instance that uses them.
pub const CODE_KEPT_BYTES: u64 = 256 << 20;
/// Bytes of machine code in memory, in use or not; what would go beyond is not loaded.
pub const CODE_BYTES_MAX: u64 = 1 << 30;
/// Of these, one tenant's.
pub const CODE_BYTES_PER_TENANT_MAX: u64 = CODE_BYTES_MAX / 2;
/// Loads at once; more wait. Each copies its code once more while it goes on.
pub const LOADS_AT_ONCE: usize = 2;

/// Places that may be in use at once on a node; an event that finds none is throttled. A place has
/// one memory and [`TABLES_PER_PLACE`] tables: one event of most functions takes one.
pub const PLACES_MAX: u32 = 1000;
/// Of these, one tenant's.
pub const PLACES_PER_TENANT_MAX: u32 = PLACES_MAX / 2;
/// What all guests may use at once, as a part of the memory that the node has for functions: one
/// of so many. They live in the server's process, which no guest's cgroup holds.
pub const MEMORY_DIVISOR: u64 = 4;
/// Of that, one tenant's: again one of so many.
pub const MEMORY_TENANT_DIVISOR: u64 = 2;
/// Tables of a place.
pub const TABLES_PER_PLACE: u32 = 4;
/// Linear memory that can be addressed: all of wasm32. A function's MemorySize is below or stands in
/// for it.
pub const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Memories of one function.
pub const MEMORIES_PER_FUNCTION_MAX: u32 = 4;
/// Core instances of one component.
pub const CORE_INSTANCES_MAX: u32 = 32;
/// Tables of one function.
pub const TABLES_PER_FUNCTION_MAX: u32 = 16;
/// Elements of one table.
pub const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Stack of a guest, bytes; recursion beyond traps.
pub const STACK_BYTES_MAX: usize = 512 << 10;
/// Bytes that a guest may write to its answer in one call.
pub const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Random bytes that a guest may ask for in one call.
pub const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// Resources (streams, pollables, header lists) that a guest may hold at once.
pub const RESOURCES_MAX: usize = 10_000;
/// Bytes of a header list that a guest may make.
pub const HEADER_BYTES_MAX: usize = 64 << 10;

/// How often running guests are looked at.
pub const TICK: Duration = Duration::from_millis(2);
/// Ticks that a guest may run without giving way: between two and four milliseconds.
pub const SLICE_TICKS: u64 = 2;
/// Memory of a guest that still runs on a core that serves, bytes. One instruction may fill all of
/// it, and nothing interrupts an instruction: so much is filled within a slice.
pub const SLICE_MEMORY_BYTES: u64 = 8 << 20;
/// Without an event for so long, nobody ticks.
pub const TICKS_UNTIL_REST: u32 = 500;
/// The niceness of threads that run what did not fit into a slice.
pub const LONG_NICENESS: i32 = 10;

/// Bytes of a freed memory that stay mapped for the next guest, cleared.
pub const MEMORY_KEPT_BYTES: usize = 128 << 10;
/// Bytes of a freed table that stay mapped for the next guest, cleared.
pub const TABLE_KEPT_BYTES: usize = 16 << 10;
/// Bytes of a freed stack that stay mapped.
pub const STACK_KEPT_BYTES: usize = 16 << 10;
/// Slots that keep anything mapped.
pub const WARM_SLOTS_MAX: u32 = 100;
