//! The settings of the engine: the same for the process that compiles and the one that runs.

use crate::limits::{
    CORE_INSTANCES_MAX, MEMORIES_PER_FUNCTION_MAX, MEMORY_BYTES_MAX, MEMORY_KEPT_BYTES, PLACES_MAX,
    STACK_BYTES_MAX, STACK_KEPT_BYTES, TABLE_ELEMENTS_MAX, TABLE_KEPT_BYTES,
    TABLES_PER_FUNCTION_MAX, TABLES_PER_PLACE, WARM_SLOTS_MAX,
};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

/// Address space behind each memory, so that loads need no check of their own.
const GUARD_BYTES: u64 = 32 << 20;
/// Stack that the host's functions may use above the guest's.
const HOST_STACK_BYTES: usize = 512 << 10;

/// What both sides share. What is compiled with it runs with it; anything else is refused by the
/// runtime when it is loaded.
fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .memory_reservation(MEMORY_BYTES_MAX)
        .memory_guard_size(GUARD_BYTES)
        .memory_may_move(false)
        .max_wasm_stack(STACK_BYTES_MAX)
        .async_stack_size(STACK_BYTES_MAX + HOST_STACK_BYTES);
    config
}

/// For the process that compiles: it never makes an instance and reserves nothing.
pub(crate) fn for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// For the server: every memory, table and stack comes from slots that are reserved once, some
/// terabytes of addresses and no memory.
pub(crate) fn for_running() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(PLACES_MAX)
        .total_core_instances(PLACES_MAX * CORE_INSTANCES_MAX)
        .total_memories(PLACES_MAX)
        .total_tables(PLACES_MAX * TABLES_PER_PLACE)
        .total_stacks(PLACES_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_PER_FUNCTION_MAX)
        .max_tables_per_component(TABLES_PER_FUNCTION_MAX)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES_PER_FUNCTION_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(usize::try_from(MEMORY_BYTES_MAX).unwrap_or(usize::MAX))
        .max_unused_warm_slots(WARM_SLOTS_MAX)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES)
        .async_stack_keep_resident(STACK_KEPT_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}
