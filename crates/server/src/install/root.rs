//! The tree that is installed into: the running system, or what `--root` names.

use super::Trouble;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

/// The tree.
#[derive(Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    /// Errors: what is named is no folder.
    pub(super) fn open(named: Option<&Path>) -> Result<Self, Trouble> {
        let Some(named) = named else {
            return Ok(Self(PathBuf::from("/")));
        };
        match fs::canonicalize(named) {
            Ok(path) if path.is_dir() => Self(path).of_ours(),
            Ok(_) => Err(Trouble::Usage(format!(
                "--root {} is no folder",
                named.display()
            ))),
            Err(error) => Err(Trouble::Usage(format!(
                "--root {}: {error}",
                named.display()
            ))),
        }
    }

    /// Errors: whoever may write to the tree could lead root out of it between a look and a step; a
    /// file of accounts that is a link is followed by the tools that write to it.
    fn of_ours(self) -> Result<Self, Trouble> {
        let facts =
            fs::metadata(&self.0).map_err(|error| format!("{}: {error}", self.0.display()))?;
        let is_root = rustix::process::geteuid().is_root();
        if is_root && (facts.uid() != 0 || facts.mode() & 0o022 != 0) {
            return Err(format!(
                "others than root may write to {}: what is installed there would be theirs",
                self.0.display()
            )
            .into());
        }
        for name in ["passwd", "group", "shadow", "gshadow"] {
            let file = self.0.join("etc").join(name);
            if fs::symlink_metadata(&file).is_ok_and(|facts| facts.is_symlink()) {
                return Err(format!(
                    "{} is a link: accounts are written to files",
                    file.display()
                )
                .into());
            }
        }
        Ok(self)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it is the running system's.
    pub(super) fn is_system(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where an absolute path of that tree is for this process.
    pub(super) fn at(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The same, if no link on the way leads out of the tree; what is not there yet leads nowhere.
    pub(super) fn contained(&self, path: &Path) -> Result<PathBuf, Trouble> {
        let at = self.at(path);
        if at.components().any(|part| part == Component::ParentDir) {
            return Err(format!("{} goes up by ..", path.display()).into());
        }
        for folder in at.ancestors().skip(1) {
            match fs::canonicalize(folder) {
                Ok(real) if real.starts_with(&self.0) => return Ok(at),
                Ok(real) => {
                    let (folder, real) = (folder.display(), real.display());
                    return Err(format!("{folder} is a link out of the tree, to {real}").into());
                }
                // A link that dangles leads somewhere too.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && fs::symlink_metadata(folder).is_err() => {}
                Err(error) => return Err(format!("{}: {error}", folder.display()).into()),
            }
        }
        Ok(at)
    }

    /// Whether something is there.
    pub(super) fn holds(&self, path: &str) -> Result<bool, Trouble> {
        let at = self.contained(Path::new(path))?;
        Ok(fs::symlink_metadata(at).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_out_of_the_tree_and_ways_up_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("usr/lib")).expect("made");
        symlink("usr/lib", tree.join("lib")).expect("a link");
        symlink("/etc", tree.join("etc")).expect("a link");
        symlink("/nonexistent/freehold", tree.join("srv")).expect("a link");
        let root = Root::open(Some(&tree)).expect("a folder");
        for inside in [
            "/lib/freehold",
            "/usr/share/freehold/x",
            "/var/lib/freehold",
        ] {
            assert!(root.contained(Path::new(inside)).is_ok(), "{inside}");
        }
        for outside in ["/etc/freehold/freehold.toml", "/srv/data", "/var/../../x"] {
            assert!(root.contained(Path::new(outside)).is_err(), "{outside}");
        }
    }
}
