//! A root tree with one program in it, this one, and packages for it.

use freehold_domain::{
    ids::Digest,
    runtime::{RuntimeFamily, RuntimeRow},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
    process::Command,
};

/// Uid and gid of the server in scenarios that drop to it.
pub const SERVER: u32 = 4242;
/// Row of the host's Python.
pub const PYTHON: u32 = 4;

/// Whether this is root, who alone gives others' files away.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn build() -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("freehold-test-")
        .tempdir()
        .expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let root = dir.path().join("root");
    for folder in [
        "dev", "proc", "run", "tmp", "var/task", "opt", "lib64", "etc",
    ] {
        fs::create_dir_all(root.join(folder)).expect("mkdir");
    }
    let own = std::env::current_exe().expect("own path");
    fs::copy(&own, root.join("guest")).expect("copy the guest");
    let listed = Command::new("ldd").arg(&own).output().expect("ldd runs");
    for word in String::from_utf8_lossy(&listed.stdout)
        .split_whitespace()
        .filter(|w| w.starts_with('/'))
    {
        let inside = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().expect("a folder")).expect("mkdir");
        fs::copy(word, inside).expect("copy a shared object");
    }
    if is_root() {
        raising_programs(&root);
    }
    let row = |id, argv: &[&str], family| RuntimeRow {
        id,
        name: format!("test{id}").parse().expect("a name"),
        family,
        version: "1".into(),
        digest: Digest([0; 32]),
        root: root.clone(),
        mounts: Vec::new(),
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        env: vec![
            ("LANG".into(), "C".into()),
            ("WHO".into(), "runtime".into()),
        ],
    };
    let mut rows = vec![
        row(1, &["/guest", "guest"], RuntimeFamily::Python),
        row(2, &["/missing"], RuntimeFamily::Python),
        row(3, &[], RuntimeFamily::Provided),
    ];
    rows.extend(python(
        &dir.path().join("python"),
        row(PYTHON, &[], RuntimeFamily::Python),
    ));
    fs::write(
        dir.path().join("table.json"),
        serde_json::to_vec(&rows).expect("JSON"),
    )
    .expect("write");
    fs::set_permissions(
        dir.path().join("table.json"),
        fs::Permissions::from_mode(0o644),
    )
    .expect("chmod");
    for (name, owner) in [
        ("package", SERVER),
        ("package-root", 0),
        ("package-other", 777),
    ] {
        let package = dir.path().join(name);
        fs::create_dir(&package).expect("mkdir");
        fs::write(package.join("file"), "packaged\n").expect("write");
        if is_root() {
            chown(&package, Some(owner), Some(owner)).expect("chown");
        }
    }
    dir
}

/// The guest again, as programs that make whoever executes them root, or give all of root's privileges; the
/// second only where the filesystem keeps them.
fn raising_programs(root: &std::path::Path) {
    let mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    for (name, bits) in [("setuid", 0o6755), ("capable", 0o755)] {
        fs::copy(root.join("guest"), root.join(name)).expect("copy the guest");
        mode(&root.join(name), bits);
    }
    // `struct vfs_cap_data`, revision 2: effective; permitted and inheritable, low and high words.
    let words = [0x0200_0001u32, u32::MAX, 0, 0x1ff, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let flags = rustix::fs::XattrFlags::empty();
    let kept = rustix::fs::setxattr(root.join("capable"), "security.capability", &bytes, flags);
    if let Err(error) = kept {
        println!(
            "       no capabilities of files below {}: {error}",
            root.display()
        );
    }
}

/// The host's Python in a tree of its own, with a program that does what its frames say; nothing
/// without one.
fn python(root: &std::path::Path, row: RuntimeRow) -> Option<RuntimeRow> {
    let facts = "import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)";
    let said = Command::new("python3").args(["-c", facts]).output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let mut lines = said.lines();
    let (program, prefix) = (lines.next()?.to_owned(), lines.next()?.to_owned());
    for folder in ["dev", "proc", "run", "tmp", "var/task", "opt", "etc", "usr"] {
        fs::create_dir_all(root.join(folder)).expect("mkdir");
    }
    let mut mounts = vec![("/usr".into(), "/usr".into())];
    for link in ["bin", "lib", "lib64", "sbin"] {
        match fs::read_link(PathBuf::from("/").join(link)) {
            Ok(to) => std::os::unix::fs::symlink(to, root.join(link)).expect("a link"),
            Err(_) if PathBuf::from("/").join(link).is_dir() => {
                fs::create_dir_all(root.join(link)).expect("mkdir");
                mounts.push((PathBuf::from("/").join(link), format!("/{link}")));
            }
            Err(_) => {}
        }
    }
    if !prefix.starts_with("/usr") {
        fs::create_dir_all(root.join(prefix.trim_start_matches('/'))).expect("mkdir");
        mounts.push((PathBuf::from(&prefix), prefix));
    }
    fs::write(root.join("opt/guest.py"), include_str!("guest.py")).expect("write");
    crowds(&root.join("opt"));
    for name in ["setuid", "capable"] {
        let program = root.with_file_name("root").join(name);
        if program.exists() {
            fs::hard_link(program, root.join("opt").join(name)).expect("a link");
        }
    }
    Some(RuntimeRow {
        root: root.to_owned(),
        mounts,
        argv: vec![program, "-E".into(), "-s".into(), "/opt/guest.py".into()],
        env: vec![("LANG".into(), "C.UTF-8".into())],
        ..row
    })
}

/// A file under more names than an image may carry files, and under some that are too long for one together.
fn crowds(folder: &std::path::Path) {
    let page = folder.join("page");
    fs::write(&page, [0u8; 4096]).expect("write");
    let long = std::iter::repeat_n("n".repeat(250), 14).collect::<PathBuf>();
    for (crowd, count) in [("many".into(), 2049), (long, 160)] {
        let crowd = folder.join(crowd);
        fs::create_dir_all(&crowd).expect("mkdir");
        for number in 0..count {
            fs::hard_link(&page, crowd.join(number.to_string())).expect("a link");
        }
    }
}

/// Where the orchestrator built it.
pub fn path() -> PathBuf {
    PathBuf::from(std::env::var_os("FREEHOLD_TEST_TREE").expect("run by the orchestrator"))
}

pub fn state_dir() -> PathBuf {
    path().join("state")
}
