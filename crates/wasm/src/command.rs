//! WASI commands: programs that read the event on standard input and answer on standard output.
//!
//! Standard error is the function's log. Returning, and ending with status 0, are an answer: all
//! that was written. Any other status is the function's error `Runtime.ExitError`, a trap
//! `Runtime.Trap` with the stack in the log; what was written to standard output by then is no
//! answer and goes nowhere.

use crate::state::{ComponentState, CoreState};
use wasmtime::{InstancePre, Store};
use wasmtime_wasi::{I32Exit, p2::bindings::CommandPre};

/// Runs a core module's `_start`.
pub(crate) async fn core(
    pre: &InstancePre<CoreState>,
    mut store: Store<CoreState>,
) -> wasmtime::Result<()> {
    let instance = pre.instantiate_async(&mut store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    well(start.call_async(&mut store, ()).await)
}

/// Runs a component's `wasi:cli/run`.
pub(crate) async fn component(
    pre: &CommandPre<ComponentState>,
    mut store: Store<ComponentState>,
) -> wasmtime::Result<()> {
    let command = pre.instantiate_async(&mut store).await?;
    match command.wasi_cli_run().call_run(&mut store).await {
        Ok(Ok(())) => Ok(()),
        // The program failed and names no status: that of a shell.
        Ok(Err(())) => Err(I32Exit(1).into()),
        Err(error) => well(Err(error)),
    }
}

/// An exit with status 0 is a return.
fn well(ran: wasmtime::Result<()>) -> wasmtime::Result<()> {
    ran.or_else(|error| match error.downcast_ref() {
        Some(I32Exit(0)) => Ok(()),
        _ => Err(error),
    })
}
