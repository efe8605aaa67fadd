//! The allow-list of one tree: guest path → where its content comes from. Nothing is read or written
//! here except to follow what programs need of the loader.

use crate::elf::{self, Loader};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What one path of a tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder, 0755.
    Folder,
    /// A symbolic link and what it says.
    Link(String),
    /// A copy of a file of the host.
    Copy {
        /// Where it is now.
        source: PathBuf,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A file of ours.
    Own {
        /// Its content.
        content: Vec<u8>,
        /// Whether it may be executed.
        executable: bool,
    },
}

/// A tree to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Absolute guest paths without a trailing slash. Parents are added by [`Plan::put`].
    pub entries: BTreeMap<String, Entry>,
    /// Host folders whose listing the plan depends on.
    pub folders_read: BTreeSet<PathBuf>,
    /// Shared objects that something asked for and the machine does not have.
    pub missing: BTreeSet<String>,
    loader: Loader,
    library_folder: String,
    links: Vec<(String, String)>,
    seen: BTreeSet<PathBuf>,
    // Host folders that come as a whole, resolved.
    roots: Vec<PathBuf>,
}

impl Plan {
    /// An empty tree for programs of this machine.
    pub fn new(loader: Loader) -> Self {
        // Libraries lie flat in one folder that is both a default of the loader here and early in
        // Lambda's LD_LIBRARY_PATH. The loader's other defaults are links to it.
        let libc = loader.resolve("libc.so.6", &[], Path::new("/"));
        let home = libc
            .as_deref()
            .and_then(Path::parent)
            .map(guest_form)
            .unwrap_or_else(|| "/usr/lib64".to_owned());
        let (library_folder, links) = match home.as_str() {
            "/usr/lib" => (
                "/usr/lib",
                vec![("/usr/lib64".to_owned(), "lib".to_owned())],
            ),
            "/usr/lib64" => ("/usr/lib64", vec![]),
            other => (
                "/usr/lib64",
                vec![(other.to_owned(), "../lib64".to_owned())],
            ),
        };
        let mut links = links;
        for name in ["bin", "sbin", "lib", "lib64"] {
            links.push((format!("/{name}"), format!("usr/{name}")));
        }
        links.push(("/usr/sbin".to_owned(), "bin".to_owned()));
        let mut plan = Self {
            entries: BTreeMap::new(),
            folders_read: BTreeSet::new(),
            missing: BTreeSet::new(),
            loader,
            library_folder: library_folder.to_owned(),
            links: links.clone(),
            seen: BTreeSet::new(),
            roots: Vec::new(),
        };
        for (at, to) in links {
            plan.put(&at, Entry::Link(to));
        }
        plan
    }

    /// Puts one entry and the folders above it; the first to name a path keeps it.
    pub fn put(&mut self, at: &str, entry: Entry) {
        let at = self.through_links(at);
        let mut parent = Path::new(&at).parent();
        while let Some(folder) = parent.filter(|p| p.parent().is_some()) {
            self.entries
                .entry(folder.to_string_lossy().into_owned())
                .or_insert(Entry::Folder);
            parent = folder.parent();
        }
        self.entries.entry(at).or_insert(entry);
    }

    /// Puts a file of ours.
    pub fn own(&mut self, at: &str, content: impl Into<Vec<u8>>, executable: bool) {
        self.put(
            at,
            Entry::Own {
                content: content.into(),
                executable,
            },
        );
    }

    /// Puts a copy of the host's `source` (links followed), with what it needs of the loader.
    pub fn file(&mut self, at: &str, source: &Path) -> io::Result<()> {
        let source = fs::canonicalize(source)?;
        let metadata = fs::metadata(&source)?;
        if !metadata.is_file() {
            return Err(io::Error::other(format!(
                "{} is not a file",
                source.display()
            )));
        }
        let executable = metadata.permissions().mode() & 0o111 != 0;
        self.put(
            at,
            Entry::Copy {
                source: source.clone(),
                executable,
            },
        );
        if executable || source.to_string_lossy().contains(".so") {
            self.follow(&source)?;
        }
        Ok(())
    }

    /// Puts the library `name`, when the machine has it.
    pub fn library(&mut self, name: &str) {
        if let Some(path) = self.loader.resolve(name, &[], Path::new("/")) {
            self.put_library(name, &path);
        }
    }

    /// Puts a whole folder of the host (links followed), except for what `leave_out` names by its
    /// path below `source`.
    pub fn folder(
        &mut self,
        at: &str,
        source: &Path,
        leave_out: &dyn Fn(&Path) -> bool,
    ) -> io::Result<()> {
        self.put(at, Entry::Folder);
        self.folders_read.insert(source.to_owned());
        self.roots.push(fs::canonicalize(source)?);
        let walk = walkdir::WalkDir::new(source)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter();
        let kept = walk.filter_entry(|entry| {
            entry
                .path()
                .strip_prefix(source)
                .is_ok_and(|below| below.as_os_str().is_empty() || !leave_out(below))
        });
        // A link to nowhere or in a circle is not content.
        for entry in kept.flatten() {
            let Ok(below) = entry.path().strip_prefix(source) else {
                continue;
            };
            let Some(below) = below.to_str() else {
                continue;
            };
            if entry.file_type().is_dir() {
                self.folders_read.insert(entry.path().to_owned());
            } else if entry.file_type().is_file() {
                self.file(&format!("{at}/{below}"), entry.path())?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, source: &Path) -> io::Result<()> {
        if !self.seen.insert(source.to_owned()) {
            return Ok(());
        }
        let Some(dynamic) = elf::dynamic(&fs::read(source)?) else {
            return Ok(());
        };
        if let Some(loader) = &dynamic.interpreter {
            let at = guest_form(loader);
            let real = fs::canonicalize(loader)?;
            self.put(
                &at,
                Entry::Copy {
                    source: real,
                    executable: true,
                },
            );
        }
        let origin = source.parent().unwrap_or(Path::new("/")).to_owned();
        for name in dynamic.needed {
            // Beside the object that needs it, reached by its own `$ORIGIN`: comes with its folder.
            let beside = dynamic.search.iter().any(|s| s.contains("ORIGIN"))
                && self
                    .loader
                    .resolve(&name, &dynamic.search, &origin)
                    .is_some_and(|found| {
                        fs::canonicalize(found)
                            .is_ok_and(|real| self.roots.iter().any(|root| real.starts_with(root)))
                    });
            if beside {
                continue;
            }
            match self.loader.resolve(&name, &dynamic.search, &origin) {
                Some(found) => self.put_library(&name, &found),
                None => {
                    self.missing.insert(name);
                }
            }
        }
        Ok(())
    }

    fn put_library(&mut self, name: &str, path: &Path) {
        let Some(base) = Path::new(name).file_name().and_then(|n| n.to_str()) else {
            return;
        };
        let Ok(source) = fs::canonicalize(path) else {
            return;
        };
        let at = format!("{}/{base}", self.library_folder);
        if !self.entries.contains_key(&at) {
            self.put(
                &at,
                Entry::Copy {
                    source: source.clone(),
                    executable: true,
                },
            );
            // What cannot be read is found missing when the tree is stored.
            let _ = self.follow(&source);
        }
    }

    fn through_links(&self, at: &str) -> String {
        let mut at = at.to_owned();
        // Twice: /lib → /usr/lib, then /usr/lib/x86_64-linux-gnu → /usr/lib64.
        for _ in 0..2 {
            for (link, to) in &self.links {
                if let Some(rest) = at
                    .strip_prefix(link.as_str())
                    .filter(|rest| rest.starts_with('/'))
                {
                    let parent = Path::new(link).parent().unwrap_or(Path::new("/"));
                    let target = match to.strip_prefix("../") {
                        Some(up) => parent.parent().unwrap_or(Path::new("/")).join(up),
                        None => parent.join(to),
                    };
                    at = format!("{}{rest}", target.display());
                    break;
                }
            }
        }
        at
    }
}

/// A host folder or file as a merged-/usr guest spells it.
fn guest_form(path: &Path) -> String {
    let text = path.to_string_lossy();
    if ["/lib", "/bin", "/sbin"]
        .iter()
        .any(|top| text.starts_with(top))
    {
        format!("/usr{text}")
    } else {
        text.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_its_loader_and_libraries() {
        let mut plan = Plan::new(Loader::of_this_machine());
        plan.file("/bin/sh", Path::new("/bin/sh"))
            .expect("every machine has a shell");
        assert!(
            matches!(plan.entries["/usr/bin/sh"], Entry::Copy { .. }),
            "links are followed"
        );
        assert!(plan.entries.keys().any(|path| path.ends_with("/libc.so.6")));
        assert!(plan.entries.keys().any(|path| path.contains("/ld-")));
        assert_eq!(plan.entries["/lib"], Entry::Link("usr/lib".into()));
        assert!(plan.missing.is_empty());
    }

    #[test]
    fn folders_leave_out_what_they_are_told_to() {
        let host = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in [("a/keep.py", "1"), ("a/test/drop.py", "2"), ("top.py", "3")] {
            let path = host.path().join(path);
            fs::create_dir_all(path.parent().expect("has a parent")).expect("folder");
            fs::write(path, text).expect("file");
        }
        std::os::unix::fs::symlink("/nowhere", host.path().join("dangling")).expect("link");
        std::os::unix::fs::symlink(host.path(), host.path().join("circle")).expect("link");
        let mut plan = Plan::new(Loader::of_this_machine());
        plan.folder("/x", host.path(), &|below| below.ends_with("test"))
            .expect("readable");
        let files: Vec<_> = plan
            .entries
            .iter()
            .filter(|(_, e)| matches!(e, Entry::Copy { .. }))
            .map(|(p, _)| p.as_str())
            .collect();
        assert_eq!(files, ["/x/a/keep.py", "/x/top.py"]);
    }
}
