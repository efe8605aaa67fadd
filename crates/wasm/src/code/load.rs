//! The one place where bytes become code that this process executes.
//!
//! The runtime believes the machine code that it is given; whoever could choose these bytes would
//! own the server. [`Compiled`] therefore comes from two places alone: from the child that compiled
//! it just now, and from a file whose seal was verified over the very bytes that are handed on here
//! (`compiled.rs`). The loader copies them once more, so nobody changes them afterwards.

#![allow(unsafe_code)]

use crate::compile::Compiled;
use wasmtime::{Engine, Module, component::Component};

/// Loads a compiled component. Errors: it was made by another engine, or for other features.
pub(super) fn component(engine: &Engine, compiled: &Compiled) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what `Engine::precompile_component` returned, unchanged: a `Compiled`
    // is made by `compile.rs` from the compiler's output and by `compiled.rs` from a file whose
    // HMAC, with a key that no tenant has, was verified over these bytes in memory.
    unsafe { Component::deserialize(engine, &compiled.code) }
}

/// Loads a compiled core module. Errors: as [`component`].
pub(super) fn module(engine: &Engine, compiled: &Compiled) -> wasmtime::Result<Module> {
    // SAFETY: as in `component`, with `Engine::precompile_module`.
    unsafe { Module::deserialize(engine, &compiled.code) }
}
