//! What `stat` says of many paths below one folder: each folder on the way is found once, and what lies
//! in it by its name there. A tree has tens of thousands of paths of ten names each.

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use std::{io, os::fd::OwnedFd, path::Path};

/// Of what [`Look::at`] tells where a path is a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Of the link.
    Itself,
    /// Of what it leads to.
    Behind,
}

/// See the module.
pub(crate) struct Look {
    root: OwnedFd,
    /// The folders from the root to where the last path lay, each below the one before.
    way: Vec<(String, OwnedFd)>,
}

impl Look {
    /// Errors: there is no such folder.
    pub(crate) fn below(root: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(root, folder(), Mode::empty())?;
        Ok(Self {
            root,
            way: Vec::new(),
        })
    }

    /// Looks at a path below the root, without a slash in front; the root itself for an empty one.
    /// Fewest steps for paths in their order.
    pub(crate) fn at(&mut self, path: &str, of: Seen) -> io::Result<Stat> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = if name.is_empty() { "." } else { name };
        let flags = match of {
            Seen::Itself => AtFlags::SYMLINK_NOFOLLOW,
            Seen::Behind => AtFlags::empty(),
        };
        Ok(rustix::fs::statat(self.folder(parent)?, name, flags)?)
    }

    fn folder(&mut self, path: &str) -> io::Result<&OwnedFd> {
        let leads_there = |known: &str| match path.strip_prefix(known) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        while self
            .way
            .last()
            .is_some_and(|(known, _)| !leads_there(known))
        {
            self.way.pop();
        }
        let (known, from) = match self.way.last() {
            Some((known, from)) => (known.as_str(), from),
            None => ("", &self.root),
        };
        let rest = path[known.len()..].trim_start_matches('/');
        if !rest.is_empty() {
            let opened = rustix::fs::openat(from, rest, folder(), Mode::empty())?;
            self.way.push((path.to_owned(), opened));
        }
        Ok(self.way.last().map_or(&self.root, |(_, folder)| folder))
    }
}

fn folder() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    #[test]
    fn it_says_what_stat_says_in_whatever_order_paths_come() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let root = data.path();
        for folder in ["a/b/c", "a/bc", "d"] {
            fs::create_dir_all(root.join(folder)).expect("made");
        }
        for file in ["a/b/c/one", "a/b/two", "a/bc/three", "d/four", "five"] {
            fs::write(root.join(file), file).expect("written");
        }
        symlink("a/b", root.join("link")).expect("linked");
        let mut paths = vec![
            "",
            "a",
            "a/b",
            "a/b/c",
            "a/b/c/one",
            "a/b/two",
            "a/bc",
            "a/bc/three",
            "d",
            "d/four",
            "five",
            "link",
            "link/two",
        ];
        let mut look = Look::below(root).expect("there");
        for _ in 0..2 {
            for path in &paths {
                let at = root.join(path);
                let (itself, behind) = (fs::symlink_metadata(&at), fs::metadata(&at));
                let inode = |of| look.at(path, of).expect("there").st_ino;
                let mut inode = inode;
                assert_eq!(inode(Seen::Itself), itself.expect("there").ino(), "{path}");
                assert_eq!(inode(Seen::Behind), behind.expect("there").ino(), "{path}");
            }
            paths.reverse();
        }
        for gone in ["a/b/c/none", "a/none/one", "five/one", "none"] {
            assert!(look.at(gone, Seen::Itself).is_err(), "{gone}");
            assert!(look.at("a/b/c/one", Seen::Itself).is_ok());
        }
        assert!(Look::below(&root.join("five")).is_err());
    }
}
