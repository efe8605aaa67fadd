//! The modules that the outside tests and the benches deploy are what their sources say.
//!
//! They lie in the repository so that neither needs a WebAssembly toolchain. After a change of a
//! source: `FREEHOLD_BLESS=1 cargo test -p freehold-wasm --test fixtures`.

use std::{
    fs,
    path::{Path, PathBuf},
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

fn folder() -> PathBuf {
    PathBuf::from("../../tests/functions/wasm")
}

/// The module of a `.wat`; a component where a `.wit` lies beside it.
fn made(source: &Path) -> Vec<u8> {
    let text = fs::read_to_string(source).unwrap();
    let mut module = wat::parse_str(text).unwrap_or_else(|error| panic!("{source:?}: {error}"));
    let wit = source.with_extension("wit");
    if !wit.exists() {
        return module;
    }
    let mut resolve = Resolve::default();
    let package = resolve.push_file(&wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .unwrap();
    let mut encoder = encoder;
    encoder.encode().unwrap()
}

#[test]
fn modules_are_what_their_sources_say() {
    let mut seen = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let source = entry.unwrap().path();
        if source.extension().is_none_or(|kind| kind != "wat") {
            continue;
        }
        seen += 1;
        let (made, module) = (made(&source), source.with_extension("wasm"));
        if std::env::var_os("FREEHOLD_BLESS").is_some() {
            fs::write(&module, &made).unwrap();
        }
        let kept = fs::read(&module).unwrap_or_default();
        assert!(
            kept == made,
            "{module:?} is not what its source says: see the head of this file"
        );
    }
    assert!(seen >= 12, "only {seen} sources were found");
}
