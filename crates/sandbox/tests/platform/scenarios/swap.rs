//! Nothing of an instance is written to swap space, as far as the kernel lets anybody say so.

use super::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn folders_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// The platform's own folders, of whichever hierarchy, where memory is limited.
fn roots() -> Vec<PathBuf> {
    let supervisor = supervisor_of(std::process::id() as i32).to_string();
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("freehold-") && name.split('-').nth(2) == Some(&supervisor)
    };
    let top = Path::new("/sys/fs/cgroup");
    let all = folders_of(top).into_iter();
    let all = all.flat_map(|folder| [vec![folder.clone()], folders_of(&folder)].concat());
    let limited = |root: &PathBuf| {
        let has = |file| root.join("guests").join(file).exists();
        has("memory.limit_in_bytes") || has("memory.max")
    };
    all.filter(is_ours).filter(limited).collect()
}

pub fn kept_out() {
    platform(0, async |pool| {
        let (instance, io) = start(&pool, spec(0, 0, &["heap", "20"])).await;
        read_until(&io.stdout, "held 20\n").await;
        let roots = roots();
        assert_eq!(roots.len(), 1, "{roots:?}");
        let root = &roots[0];
        let read = |file: PathBuf| fs::read_to_string(file).map(|text| text.trim().to_owned());
        let guests = folders_of(&root.join("guests"));
        assert!(!guests.is_empty());
        if root.join("memory.swappiness").exists() {
            let ours = [root.clone(), root.join("platform"), root.join("guests")];
            for group in ours.iter().chain(&guests) {
                let word = read(group.join("memory.swappiness")).expect("read");
                assert_eq!(word, "0", "{}", group.display());
            }
            let [both, memory] = ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]
                .map(|file| read(root.join("guests").join(file)));
            // Where swap is counted, it counts with the memory.
            assert!(both.is_err() || both.ok() == memory.ok());
        } else if root.join("memory.swap.max").exists() {
            assert_eq!(read(root.join("memory.swap.max")).expect("read"), "0");
        } else {
            println!("       this kernel has no swap");
        }
        // Images are charged to whoever wrote them: a spawner's child.
        let supervisor = supervisor_of(std::process::id() as i32);
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        let platform = format!("/{name}/platform");
        for pid in [vec![supervisor], children(supervisor)].concat() {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its groups");
            let limited = groups.lines().find(|line| line.contains(":memory:"));
            let of = limited.or_else(|| groups.lines().find(|line| line.starts_with("0::")));
            assert!(of.is_some_and(|line| line.ends_with(&platform)), "{groups}");
        }
        instance.destroy().await;
    });
}
