//! Compiles the two programs below `src/sys/restorer` with the compiler that builds the crate.
//!
//! They run where there is no libc yet: static, without an interpreter, each linked at an address
//! of its own. Only for x86-64 Linux; elsewhere the crate is built without them and refuses start
//! images by name. Downloads nothing, and needs no tool that the crate itself does not need.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCES: &str = "src/sys/restorer";

/// Two segments, so that what is mapped is known: code with its headers, and data. The page of
/// the trampoline stands alone.
const SCRIPT: &str = "
ENTRY(_start)
PHDRS {
  text PT_LOAD FILEHDR PHDRS FLAGS(5);
  data PT_LOAD FLAGS(6);
  stack PT_GNU_STACK FLAGS(6);
}
SECTIONS {
  . = BASE + SIZEOF_HEADERS;
  .rodata : { *(.rodata .rodata.*) } :text
  .trampoline : ALIGN(4096) { *(.trampoline) . = ALIGN(4096); } :text
  .text : ALIGN(4096) { *(.text .text.*) } :text
  . = ALIGN(4096);
  .data : { *(.data .data.* .got .got.*) } :data
  .bss : { *(.bss .bss.*) } :data
  /DISCARD/ : { *(.eh_frame .eh_frame_hdr .comment .note .note.* .gcc_except_table*) }
}
";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SOURCES}");
    println!("cargo::rustc-check-cfg=cfg(start_images)");
    let of = |name: &str| env::var(name).unwrap_or_default();
    if of("CARGO_CFG_TARGET_ARCH") != "x86_64" || of("CARGO_CFG_TARGET_OS") != "linux" {
        return Ok(());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    compile("main.rs", "restorer", 0x1000_0000_0000, &out)?;
    compile("specimen.rs", "specimen", 0x40_0000, &out)?;
    println!("cargo::rustc-cfg=start_images");
    Ok(())
}

fn compile(source: &str, name: &str, base: u64, out: &Path) -> Result<(), Box<dyn Error>> {
    let script = out.join(format!("{name}.ld"));
    fs::write(&script, SCRIPT.replace("BASE", &format!("{base:#x}")))?;
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc
        .arg(Path::new(SOURCES).join(source))
        .args(["--crate-name", name, "--crate-type", "bin"])
        .args(["--edition", "2024", "--cap-lints", "allow"])
        .args(["--target", &env::var("TARGET")?])
        .arg("-o")
        .arg(out.join(name))
        .arg(format!("-Clink-arg=-Wl,-T,{}", script.display()));
    // The code is far beyond the first two GiB, so it must find its data relative to itself.
    for option in [
        "opt-level=s",
        "panic=abort",
        "relocation-model=pic",
        "target-feature=-crt-static",
        "force-unwind-tables=no",
        "debuginfo=0",
        "overflow-checks=off",
        "debug-assertions=off",
        "codegen-units=1",
        "lto=fat",
        "strip=symbols",
        "link-arg=-nostartfiles",
        "link-arg=-nostdlib",
        "link-arg=-static",
        "link-arg=-no-pie",
        "link-arg=-Wl,--build-id=none",
        "link-arg=-Wl,-z,noexecstack",
    ] {
        rustc.arg(format!("-C{option}"));
    }
    let done = rustc.output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{name} could not be compiled:\n{said}").into());
    }
    Ok(())
}
