//! What `freehold new` can write: one row per language, its files from `crates/server/templates`.

use clap::builder::PossibleValue;

/// A project in one language.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// What the command line calls it.
    pub name: &'static str,
    /// What people may call it as well.
    pub other_names: &'static [&'static str],
    /// The language's own name, with what is built.
    pub title: &'static str,
    /// The script that has to run before the folder can be deployed, if one has to.
    pub build: Option<&'static str>,
    /// Path below the folder, text. [`NAME_MARK`](super::NAME_MARK) in the text stands for the function's name; a text
    /// that begins with `#!` becomes executable.
    pub files: &'static [(&'static str, &'static str)],
}

impl Template {
    /// For the command line.
    pub fn value(&self) -> PossibleValue {
        PossibleValue::new(self.name)
            .aliases(self.other_names)
            .help(self.title)
    }
}

macro_rules! files {
    ($language:literal: $($path:literal),* $(,)?) => {
        &[$((
            $path,
            include_str!(concat!("../../../templates/", $language, "/", $path)),
        )),*]
    };
}

/// Every template, by its name.
pub const ALL: &[Template] = &[
    Template {
        name: "clojure",
        other_names: &["clj"],
        title: "Clojure, on the Java runtime",
        build: None,
        files: files!("clojure":
            ".gitignore", "README.md", "event.json", "freehold.toml", "pom.xml",
            "src/main/clojure/hello.clj"),
    },
    Template {
        name: "go",
        other_names: &["golang"],
        title: "Go",
        build: None,
        files: files!("go":
            "README.md", "event.json", "freehold.toml", "go.mod", "go.sum", "main.go"),
    },
    Template {
        name: "java",
        other_names: &[],
        title: "Java",
        build: None,
        files: files!("java":
            ".gitignore", "README.md", "event.json", "freehold.toml", "pom.xml",
            "src/main/java/hello/Hello.java"),
    },
    Template {
        name: "node",
        other_names: &["nodejs", "javascript", "js"],
        title: "JavaScript, on Node.js",
        build: None,
        files: files!("node":
            ".freeholdignore", "README.md", "event.json", "freehold.toml", "index.mjs",
            "package.json"),
    },
    Template {
        name: "php",
        other_names: &[],
        title: "PHP, which goes into the package",
        build: Some("bundle.sh"),
        files: files!("php":
            ".freeholdignore", ".gitignore", "README.md", "bootstrap", "bundle.sh", "event.json",
            "freehold.toml", "function.php", "runtime.php"),
    },
    Template {
        name: "python",
        other_names: &["python3", "py"],
        title: "Python",
        build: None,
        files: files!("python":
            ".freeholdignore", "README.md", "app.py", "event.json", "freehold.toml"),
    },
    Template {
        name: "ruby",
        other_names: &["rb"],
        title: "Ruby, which goes into the package",
        build: Some("bundle.sh"),
        files: files!("ruby":
            ".freeholdignore", ".gitignore", "README.md", "bootstrap", "bundle.sh", "event.json",
            "freehold.toml", "function.rb", "runtime.rb"),
    },
    Template {
        name: "rust",
        other_names: &["rs"],
        title: "Rust",
        build: None,
        files: files!("rust":
            ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "event.json", "freehold.toml",
            "src/main.rs"),
    },
    Template {
        name: "scala",
        other_names: &["scala3"],
        title: "Scala, on the Java runtime",
        build: None,
        files: files!("scala":
            ".gitignore", "README.md", "event.json", "freehold.toml", "pom.xml",
            "src/main/scala/hello/Hello.scala"),
    },
    Template {
        name: "wasm",
        other_names: &["webassembly", "wasm-go"],
        title: "WebAssembly, from Go",
        build: None,
        files: files!("wasm":
            "README.md", "event.json", "freehold.toml", "go.mod", "main.go"),
    },
    Template {
        name: "wasm-rust",
        other_names: &["rust-wasm"],
        title: "WebAssembly, from Rust",
        build: None,
        files: files!("wasm-rust":
            ".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "event.json", "freehold.toml",
            "src/main.rs"),
    },
];

/// The template that `word` names.
pub fn named(word: &str) -> Option<&'static Template> {
    let is_named = |one: &&Template| one.name == word || one.other_names.contains(&word);
    ALL.iter().find(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, path::Path};

    /// A file that is added to a folder and not to the table would be missed by nobody.
    #[test]
    fn the_table_has_every_file_of_the_folder() {
        let root = Path::new("templates");
        let files = walkdir::WalkDir::new(root).into_iter();
        let there: BTreeSet<String> = files
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                entry
                    .path()
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let listed = ALL.iter().flat_map(|one| {
            let paths = one.files.iter().map(|(path, _)| *path);
            paths.map(move |path| format!("{}/{path}", one.name))
        });
        assert_eq!(listed.collect::<BTreeSet<_>>(), there);
    }
}
