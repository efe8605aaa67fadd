//! Lists the Java sources of the bootstrap, so that a new file there needs no line here, and builds
//! the few KiB of native code beside them with the compiler that builds everything else.
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    build_native(&Path::new(&manifest).join("../../runtimes/java/native.rs"));
    let java = Path::new(&manifest).join("../../runtimes/java");
    let list =
        sources("SOURCES", &java.join("src")) + &sources("REHEARSAL", &java.join("rehearsal"));
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let out = Path::new(&out).join("java_sources.rs");
    // Written anew, never over: build folders may share files by hard links.
    let _ = fs::remove_file(&out);
    fs::write(out, list).expect("the build folder is writable");
}

/// A table of the Java files in a folder and below, by their paths there, with their texts.
fn sources(name: &str, folder: &Path) -> String {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut list = format!("const {name}: &[(&str, &str)] = &[\n");
    let mut files = Vec::new();
    java_files(folder, &mut files);
    files.sort();
    for path in files {
        let name = path.strip_prefix(folder).expect("it was found there");
        list.push_str(&format!(
            "    ({:?}, include_str!({:?})),\n",
            name.display().to_string(),
            path.display().to_string()
        ));
    }
    list + "];\n"
}

fn java_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("runtimes/java is in the repository") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            java_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "java") {
            found.push(path);
        }
    }
}

fn build_native(source: &Path) {
    println!("cargo::rerun-if-changed={}", source.display());
    let variable = |name: &str| env::var(name).expect("cargo sets it");
    let out = Path::new(&variable("OUT_DIR")).join("libfreehold.so");
    let _ = fs::remove_file(&out);
    let mut compile = Command::new(variable("RUSTC"));
    compile.args([
        "--edition=2024",
        "--crate-type=cdylib",
        "--crate-name=freehold_java",
    ]);
    compile.args(["-Cpanic=abort", "-Copt-level=s", "-Cstrip=symbols"]);
    compile.arg(format!("--target={}", variable("TARGET")));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compile.arg(format!("-Clinker={linker}"));
    }
    let built = compile.arg("-o").arg(&out).arg(source).status();
    assert!(
        built.expect("rustc runs").success(),
        "runtimes/java/native.rs does not build"
    );
}
