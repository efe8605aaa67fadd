//! A folder as a zip that depends on its contents only: entries in order, one time, two modes.
//!
//! So the same folder always makes the same bytes, and a deployment that changes nothing is seen
//! by its hash. Links are kept where they stay inside; one that leaves the folder, a device or a
//! socket is refused by name.

use crate::cli::Failure;
use std::{
    fs,
    io::{self, Cursor, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};
use walkdir::WalkDir;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// Bytes that are packed at the most; the server's limit is lower and its own to say.
const BYTES_MAX: u64 = 2 << 30;
/// Entries that are packed at the most.
const ENTRIES_MAX: usize = 1_000_000;
/// The file that names what stays behind, one pattern a line.
pub const IGNORE_FILE: &str = ".freeholdignore";
/// What never belongs into a package.
const ALWAYS: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".DS_Store",
    ".venv",
    "venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".idea",
    ".vscode",
    ".aws",
    IGNORE_FILE,
    "freehold.toml",
    ".env",
];

/// What stays behind.
#[derive(Debug, Default)]
pub struct Ignore {
    names: Vec<String>,
    patterns: Vec<String>,
}

impl Ignore {
    /// What never belongs into a package, `more` names, and the folder's ignore file.
    pub fn read(folder: &Path, more: &[&str]) -> Result<Self, Failure> {
        let path = folder.join(IGNORE_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(file("read", &path)(source)),
        };
        Ok(Self {
            names: ALWAYS
                .iter()
                .chain(more)
                .map(|name| (*name).to_owned())
                .collect(),
            patterns: text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(|line| line.trim_end_matches('/').to_owned())
                .collect(),
        })
    }

    /// Whether `path`, below the folder, stays behind. A pattern with `/` is about the whole path,
    /// one without about any name in it; `*` stands for anything but `/`.
    pub fn covers(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
            return false;
        };
        self.names.iter().any(|one| *one == name)
            || self.patterns.iter().any(|pattern| {
                if let Some(rooted) = pattern.strip_prefix('/') {
                    glob(rooted, &path.to_string_lossy())
                } else if pattern.contains('/') {
                    glob(pattern, &path.to_string_lossy())
                } else {
                    glob(pattern, &name)
                }
            })
    }
}

/// `*` matches any run without `/`. Linear but for one point of return, as there is one star active.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None::<(usize, usize)>);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, from)) = star
            && text[from] != '/'
        {
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Copies a folder without what stays behind; links stay links.
pub fn copy(from: &Path, to: &Path, ignore: &Ignore) -> Result<(), Failure> {
    for (relative, path) in entries(from, ignore)? {
        let target = to.join(&relative);
        let meta = fs::symlink_metadata(&path).map_err(file("read", &path))?;
        let done = if meta.is_dir() {
            fs::create_dir_all(&target)
        } else if meta.is_symlink() {
            fs::read_link(&path).and_then(|link| std::os::unix::fs::symlink(link, &target))
        } else if meta.is_file() {
            fs::copy(&path, &target).map(drop)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is neither file, folder nor link",
            ))
        };
        done.map_err(file("copy", &path))?;
    }
    Ok(())
}

/// Zips a folder.
pub fn pack(folder: &Path, ignore: &Ignore) -> Result<Vec<u8>, Failure> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // DateTime's default is 1980-01-01, the first that the format can say.
    let plain = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default());
    let mut total = 0;
    for (relative, path) in entries(folder, ignore)? {
        let Some(name) = relative.to_str() else {
            return Err(Failure::usage(
                format!("the name {} is not UTF-8", relative.display()),
                format!("rename it or leave it out by {IGNORE_FILE}"),
            ));
        };
        let meta = fs::symlink_metadata(&path).map_err(file("read", &path))?;
        let done = if meta.is_dir() {
            zip.add_directory(format!("{name}/"), plain.unix_permissions(0o755))
        } else if meta.is_symlink() {
            let link = link_inside(&relative, &path)?;
            zip.add_symlink(name, link, plain)
        } else if meta.is_file() {
            total += meta.len();
            if total > BYTES_MAX {
                return Err(too_large(format!("more than {BYTES_MAX} bytes")));
            }
            let executable = meta.permissions().mode() & 0o111 != 0;
            let mode = if executable { 0o755 } else { 0o644 };
            let mut content = Vec::new();
            fs::File::open(&path)
                .and_then(|file| file.take(BYTES_MAX).read_to_end(&mut content))
                .map_err(file("read", &path))?;
            zip.start_file(name, plain.unix_permissions(mode))
                .and_then(|()| zip.write_all(&content).map_err(Into::into))
        } else {
            return Err(Failure::usage(
                format!("{name} is neither file, folder nor link"),
                format!("leave it out by {IGNORE_FILE}"),
            ));
        };
        done.map_err(|error| file("pack", &path)(io::Error::other(error)))?;
    }
    let done = zip.finish();
    let done = done.map_err(|error| file("pack", folder)(io::Error::other(error)))?;
    Ok(done.into_inner())
}

/// Everything below `folder` that does not stay behind, in order of its relative path.
fn entries(folder: &Path, ignore: &Ignore) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let mut found = Vec::new();
    let walk = WalkDir::new(folder)
        .min_depth(1)
        .into_iter()
        .filter_entry(|entry| {
            entry.depth() == 0
                || !ignore.covers(entry.path().strip_prefix(folder).unwrap_or(entry.path()))
        });
    for entry in walk {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_owned();
            file("read", &path)(error.into())
        })?;
        if found.len() >= ENTRIES_MAX {
            return Err(too_large(format!("more than {ENTRIES_MAX} entries")));
        }
        let path = entry.into_path();
        let relative = path.strip_prefix(folder).unwrap_or(&path).to_owned();
        found.push((relative, path));
    }
    found.sort();
    Ok(found)
}

/// Where a link points, if that is inside.
fn link_inside(relative: &Path, path: &Path) -> Result<String, Failure> {
    let link = fs::read_link(path).map_err(file("read", path))?;
    let mut depth = relative.components().count() as i64 - 1;
    let mut inside = !link.is_absolute();
    for part in link.components() {
        depth += match part {
            Component::ParentDir => -1,
            Component::Normal(_) => 1,
            _ => 0,
        };
        inside &= depth >= 0;
    }
    match link.to_str().filter(|_| inside) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Failure::usage(
            format!("the link {} leads out of the folder", relative.display()),
            format!("replace it by what it points at, or leave it out by {IGNORE_FILE}"),
        )),
    }
}

fn too_large(what: String) -> Failure {
    Failure::usage(
        format!("the package would have {what}"),
        format!("leave out what the function does not need by {IGNORE_FILE}"),
    )
}

pub fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::File { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn names(zip: &[u8]) -> Vec<String> {
        let archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
        archive
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect()
    }

    #[test]
    fn the_same_folder_makes_the_same_bytes() {
        let make = |order: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            for name in order {
                write(folder.path(), name, name);
            }
            fs::set_permissions(folder.path().join("run"), fs::Permissions::from_mode(0o700))
                .unwrap();
            pack(folder.path(), &Ignore::read(folder.path(), &[]).unwrap()).unwrap()
        };
        let (one, two) = (
            make(&["a.py", "lib/b.py", "run"]),
            make(&["run", "lib/b.py", "a.py"]),
        );
        assert_eq!(one, two);
        let mut archive = zip::ZipArchive::new(Cursor::new(one)).unwrap();
        let mode =
            |archive: &mut zip::ZipArchive<_>, name| archive.by_name(name).unwrap().unix_mode();
        assert_eq!(mode(&mut archive, "run").unwrap() & 0o777, 0o755);
        assert_eq!(mode(&mut archive, "a.py").unwrap() & 0o777, 0o644);
    }

    #[test]
    fn what_does_not_belong_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "a.py",
            ".git/x",
            "__pycache__/a.pyc",
            ".env",
            "docs/x.md",
            "a.tmp",
            "tests/t.py",
        ] {
            write(folder.path(), name, "");
        }
        write(folder.path(), IGNORE_FILE, "# mine\ndocs/\n*.tmp\n/tests\n");
        let zip = pack(folder.path(), &Ignore::read(folder.path(), &[]).unwrap()).unwrap();
        assert_eq!(names(&zip), ["a.py"]);
    }

    #[test]
    fn a_link_may_not_leave_the_folder() {
        for (link, good) in [
            ("b", true),
            ("x/../b", true),
            ("../b", false),
            ("/etc/passwd", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(link, folder.path().join("a")).unwrap();
            let packed = pack(folder.path(), &Ignore::default());
            assert_eq!(packed.is_ok(), good, "{link}");
        }
    }

    #[test]
    fn a_star_stops_at_a_slash() {
        assert!(glob("a/*.md", "a/b.md") && glob("*", "x") && glob("a*c*", "abcd"));
        assert!(!glob("a/*.md", "a/b/c.md") && !glob("*.md", "a.mdx"));
    }
}
