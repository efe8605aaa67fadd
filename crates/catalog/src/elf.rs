//! What a program needs of the dynamic loader, and where this machine keeps it.
//!
//! Follows the loader's own order (RPATH or RUNPATH, then the directories of `ld.so.conf`, then its
//! built-in ones) without running it: `ldd` executes what it is asked about.

use object::{
    Endianness,
    elf::{
        DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRTAB, FileHeader64, PT_DYNAMIC, PT_INTERP, PT_LOAD,
    },
    read::elf::{Dyn, FileHeader, ProgramHeader},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The dynamic section of a program or shared object, as far as it concerns us.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// The loader that the kernel starts; none for shared objects and static programs.
    pub interpreter: Option<PathBuf>,
    /// DT_NEEDED.
    pub needed: Vec<String>,
    /// DT_RPATH and DT_RUNPATH, `$ORIGIN` not yet replaced.
    pub search: Vec<String>,
}

/// Reads the dynamic section of 64-bit ELF `data`; none when it is not such a file.
pub fn dynamic(data: &[u8]) -> Option<Dynamic> {
    if !data.starts_with(b"\x7fELF") {
        return None;
    }
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let mut found = Dynamic::default();
    for segment in segments {
        if segment.p_type(endian) == PT_INTERP {
            let bytes = segment.data(endian, data).ok()?;
            found.interpreter = Some(text(bytes)?.into());
        }
    }
    let Some(dynamic) = segments.iter().find(|s| s.p_type(endian) == PT_DYNAMIC) else {
        return Some(found);
    };
    let entries = dynamic
        .data_as_array::<object::elf::Dyn64<Endianness>, _>(endian, data)
        .ok()?;
    let strings_at = entries.iter().find(|e| e.d_tag(endian) == DT_STRTAB)?;
    let address = strings_at.d_val(endian);
    // The string table is named by its address in memory; find the segment that holds it.
    let strings = segments
        .iter()
        .filter(|s| s.p_type(endian) == PT_LOAD)
        .find(|s| {
            (s.p_vaddr(endian)..s.p_vaddr(endian).saturating_add(s.p_filesz(endian)))
                .contains(&address)
        })
        .and_then(|s| {
            data.get(usize::try_from(address - s.p_vaddr(endian) + s.p_offset(endian)).ok()?..)
        })?;
    for entry in entries {
        let name = || {
            let at = usize::try_from(entry.d_val(endian)).ok()?;
            text(strings.get(at..)?)
        };
        let tag = entry.d_tag(endian);
        if tag == DT_NEEDED {
            found.needed.push(name()?);
        } else if tag == DT_RPATH || tag == DT_RUNPATH {
            found.search.extend(name()?.split(':').map(str::to_owned));
        }
    }
    Some(found)
}

fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8(bytes[..end].to_vec()).ok()
}

/// Where shared objects are looked for on this machine.
#[derive(Debug, Clone)]
pub struct Loader {
    directories: Vec<PathBuf>,
}

impl Loader {
    /// Reads `/etc/ld.so.conf` and what it includes; adds the built-in directories.
    pub fn of_this_machine() -> Self {
        let mut directories = Vec::new();
        read_configuration(Path::new("/etc/ld.so.conf"), 0, &mut directories);
        let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
        for built_in in ["/lib", "/usr/lib"] {
            directories.push(Path::new(built_in).join(&machine));
        }
        directories.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from));
        Self { directories }
    }

    /// The file that `name` resolves to for an object that lies in `origin` with its `search` path.
    pub fn resolve(&self, name: &str, search: &[String], origin: &Path) -> Option<PathBuf> {
        if name.contains('/') {
            return Some(PathBuf::from(name)).filter(|path| is_same_machine(path));
        }
        let own = search.iter().map(|directory| {
            let origin = origin.to_string_lossy();
            PathBuf::from(
                directory
                    .replace("${ORIGIN}", &origin)
                    .replace("$ORIGIN", &origin),
            )
        });
        own.chain(self.directories.iter().cloned())
            .map(|directory| directory.join(name))
            .find(|path| is_same_machine(path))
    }
}

/// Whether `path` is a 64-bit ELF file: a 32-bit twin in another directory must not be taken.
fn is_same_machine(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 5];
    fs::File::open(path).is_ok_and(|mut f| f.read_exact(&mut start).is_ok())
        && start == *b"\x7fELF\x02"
}

fn read_configuration(path: &Path, depth: usize, directories: &mut Vec<PathBuf>) {
    const INCLUDES_DEEP: usize = 4;
    let Ok(text) = fs::read_to_string(path) else {
        return;
    };
    for line in text
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
    {
        if let Some(pattern) = line
            .strip_prefix("include")
            .filter(|rest| rest.starts_with(char::is_whitespace))
        {
            if depth < INCLUDES_DEEP {
                for included in matching(Path::new(pattern.trim())) {
                    read_configuration(&included, depth + 1, directories);
                }
            }
        } else if line.starts_with('/') {
            directories.push(PathBuf::from(line));
        }
    }
}

/// The files of a `directory/*.suffix` pattern, sorted, the only kind that `ld.so.conf` has in practice.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (
        pattern.parent(),
        pattern.file_name().and_then(|n| n.to_str()),
    ) else {
        return Vec::new();
    };
    let Some((before, after)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let mut found: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name().and_then(|n| n.to_str()).is_some_and(|n| {
                n.len() >= before.len() + after.len() && n.starts_with(before) && n.ends_with(after)
            })
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_needs_libc_and_the_loader_finds_it() {
        let own = fs::read("/proc/self/exe").expect("the test's own program");
        let dynamic = dynamic(&own).expect("an ELF file");
        assert!(dynamic.interpreter.is_some());
        let libc = dynamic
            .needed
            .iter()
            .find(|n| n.starts_with("libc.so"))
            .expect("libc is needed");
        assert!(
            Loader::of_this_machine()
                .resolve(libc, &[], Path::new("/"))
                .is_some()
        );
    }

    #[test]
    fn what_is_not_elf_or_is_cut_short_is_none_and_never_a_panic() {
        assert_eq!(dynamic(b"#!/bin/sh\n"), None);
        let own = fs::read("/proc/self/exe").expect("the test's own program");
        for length in [4, 16, 63, 64, 200, 1000] {
            let _ = dynamic(&own[..length]);
        }
        let mut broken = own[..4096].to_vec();
        for at in (16..4096).step_by(7) {
            broken[at] ^= 0xff;
            let _ = dynamic(&broken);
        }
    }
}
