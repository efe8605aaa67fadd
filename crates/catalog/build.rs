//! Lists the Java sources of the bootstrap, so that a new file there needs no line here.
use std::{env, fs, path::Path};

fn main() {
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let sources = Path::new(&manifest).join("../../runtimes/java/src");
    println!("cargo::rerun-if-changed={}", sources.display());
    let mut list = String::from("const SOURCES: &[(&str, &str)] = &[\n");
    let mut files: Vec<_> = fs::read_dir(&sources)
        .expect("runtimes/java/src is in the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "java"))
        .collect();
    files.sort();
    for path in files {
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        list.push_str(&format!(
            "    ({name:?}, include_str!({:?})),\n",
            path.display().to_string()
        ));
    }
    list.push_str("];\n");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("java_sources.rs"), list).expect("the build folder is writable");
}
