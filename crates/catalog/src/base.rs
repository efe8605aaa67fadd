//! What is in every tree: a shell and small tools (as on Lambda's own images, and for shell-script
//! bootstraps), the C library's helpers, certificates, time zones, a locale, and an `/etc` of ours.

use crate::plan::{Entry, Plan};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Tools that a `bootstrap` script may count on; those that the machine lacks are left out.
const TOOLS: &[&str] = &[
    "sh",
    "bash",
    "awk",
    "base64",
    "basename",
    "cat",
    "chmod",
    "cp",
    "curl",
    "cut",
    "date",
    "dirname",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "egrep",
    "fgrep",
    "gzip",
    "gunzip",
    "head",
    "id",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mktemp",
    "mv",
    "nproc",
    "od",
    "paste",
    "printf",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "tee",
    "test",
    "[",
    "timeout",
    "touch",
    "tr",
    "true",
    "uname",
    "uniq",
    "wc",
    "whoami",
    "xargs",
    "zcat",
];

/// Loaded by name at run time, or expected by compiled wheels and addons.
const LIBRARIES: &[&str] = &[
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libnss_dns.so.2",
    "libnss_files.so.2",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
    "libz.so.1",
];

const CERTIFICATES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const FOLDERS: &[&str] = &[
    "/dev",
    "/proc",
    "/sys",
    "/tmp",
    "/run",
    "/mnt",
    "/opt",
    "/var/task",
    "/var/lang/bin",
    "/var/lang/lib",
    "/var/runtime",
];

const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";
const RESOLVER: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n";
const NAME_SWITCH: &str =
    "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n";
const SERVICES: &str = "domain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nhttps 443/tcp\nsmtp 25/tcp\npostgresql 5432/tcp\nmysql 3306/tcp\nredis 6379/tcp\n";
const PROTOCOLS: &str = "icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\n";
const OS_RELEASE: &str = "NAME=\"Freehold\"\nID=freehold\nPRETTY_NAME=\"Freehold runtime\"\n";

/// Adds what every tree has.
pub fn add(plan: &mut Plan) -> io::Result<()> {
    for folder in FOLDERS {
        plan.put(folder, Entry::Folder);
    }
    for tool in TOOLS {
        if let Some(path) = ["/bin", "/usr/bin"]
            .iter()
            .map(|d| Path::new(d).join(tool))
            .find(|p| p.is_file())
        {
            plan.file(&format!("/usr/bin/{tool}"), &path)?;
        }
    }
    for library in LIBRARIES {
        plan.library(library);
    }
    add_etc(plan)?;
    if Path::new("/usr/share/zoneinfo").is_dir() {
        let twice = |below: &Path| below.starts_with("right") || below.starts_with("posix");
        plan.folder(
            "/usr/share/zoneinfo",
            Path::new("/usr/share/zoneinfo"),
            &twice,
        )?;
    }
    add_locale(plan)
}

fn add_etc(plan: &mut Plan) -> io::Result<()> {
    let ours = [
        ("hosts", HOSTS),
        ("resolv.conf", RESOLVER),
        ("nsswitch.conf", NAME_SWITCH),
        ("services", SERVICES),
        ("protocols", PROTOCOLS),
        ("os-release", OS_RELEASE),
    ];
    for (name, content) in ours {
        plan.own(&format!("/etc/{name}"), content, false);
    }
    // Written into each sandbox, since every instance has a uid of its own.
    for name in ["passwd", "group"] {
        plan.put(
            &format!("/etc/{name}"),
            Entry::Link(format!("../run/{name}")),
        );
    }
    plan.put(
        "/etc/localtime",
        Entry::Link("../usr/share/zoneinfo/UTC".into()),
    );
    let Some(bundle) = CERTIFICATES.iter().map(Path::new).find(|p| p.is_file()) else {
        return Ok(());
    };
    plan.file("/etc/ssl/certs/ca-certificates.crt", bundle)?;
    // Where OpenSSL, Go, curl and the distributions' own builds of them look.
    for (at, to) in [
        ("/etc/ssl/cert.pem", "certs/ca-certificates.crt"),
        ("/etc/ssl/ca-bundle.pem", "certs/ca-certificates.crt"),
        (
            "/etc/pki/tls/certs/ca-bundle.crt",
            "../../../ssl/certs/ca-certificates.crt",
        ),
        ("/etc/pki/tls/cert.pem", "certs/ca-bundle.crt"),
        (
            "/usr/lib/ssl/cert.pem",
            "../../../etc/ssl/certs/ca-certificates.crt",
        ),
        ("/usr/lib/ssl/certs", "../../../etc/ssl/certs"),
        ("/usr/lib/ssl/openssl.cnf", "../../../etc/ssl/openssl.cnf"),
    ] {
        plan.put(at, Entry::Link(to.into()));
    }
    let settings = [
        PathBuf::from("/etc/ssl/openssl.cnf"),
        PathBuf::from("/etc/pki/tls/openssl.cnf"),
    ];
    if let Some(settings) = settings.iter().find(|p| p.is_file()) {
        plan.file("/etc/ssl/openssl.cnf", settings)?;
    }
    Ok(())
}

/// Lambda sets `LANG=en_US.UTF-8`; what it stands for here is the C locale with UTF-8, so that
/// `setlocale` succeeds on machines that generated no locale.
fn add_locale(plan: &mut Plan) -> io::Result<()> {
    let found = ["C.utf8", "C.UTF-8"]
        .iter()
        .map(|name| Path::new("/usr/lib/locale").join(name))
        .find(|p| p.is_dir());
    let Some(found) = found else { return Ok(()) };
    plan.folder("/usr/lib/locale/C.utf8", &found, &|_| false)?;
    plan.put("/usr/lib/locale/en_US.utf8", Entry::Link("C.utf8".into()));
    Ok(())
}

/// The environment that every runtime has, in Lambda's spelling. `execution_env` is the runtime's
/// name where Lambda names it (all but `provided`).
pub fn environment(execution_env: Option<&str>) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = [
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
        (
            "LD_LIBRARY_PATH",
            "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        ),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
        ("_AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1"),
        ("_AWS_XRAY_DAEMON_PORT", "2000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if let Some(name) = execution_env {
        env.push(("AWS_EXECUTION_ENV".into(), format!("AWS_Lambda_{name}")));
    }
    env
}
