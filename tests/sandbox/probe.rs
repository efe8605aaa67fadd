//! Tries, from inside an instance, everything in lines.tsv, and says what the kernel answered.
//!
//! A `bootstrap` when it is deployed as a custom runtime (it speaks the Runtime API, and tries
//! before it asks for an event where PROBE_AT_INIT is set); without one it prints one JSON line per
//! line. Standard library only and linked statically, so it runs in
//! the emptiest root: `rustc -O -C target-feature=+crt-static probe.rs`. It judges nothing: what
//! must be seen stands in escape_list.json.

use std::ffi::{CString, c_int, c_long};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const VALUE_MAX: u64 = 1 << 16;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const O_NONBLOCK: i32 = 0o4000;
const SIGKILL: c_int = 9;
const ENOENT: i32 = 2;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn pause() -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn _exit(status: c_int) -> !;
}

fn main() {
    let folder = std::env::var("LAMBDA_TASK_ROOT").unwrap_or_else(|_| ".".to_owned());
    let lines = fs::read_to_string(format!("{folder}/lines.tsv")).expect("lines.tsv is beside");
    let Ok(api) = std::env::var("AWS_LAMBDA_RUNTIME_API") else {
        for line in lines.lines() {
            println!("{}", probe(line));
        }
        return;
    };
    let all = || lines.lines().map(probe).collect::<Vec<_>>().join(",");
    let at_init = std::env::var_os("PROBE_AT_INIT").map(|_| all());
    let base = "/2018-06-01/runtime/invocation";
    loop {
        let (head, _) = http(&api, "GET", &format!("{base}/next"), "");
        let id = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("lambda-runtime-aws-request-id"))
            .map(|(_, value)| value.trim().to_owned())
            .expect("an invocation has an id");
        let answers = at_init.clone().unwrap_or_else(all);
        let body = format!("[{answers}]");
        http(&api, "POST", &format!("{base}/{id}/response"), &body);
    }
}

/// One request on a connection of its own.
fn http(api: &str, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(api).expect("the Runtime API is there");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {api}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("a request is written");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).expect("a head") > 2 {}
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("a body");
    (head, rest)
}

/// One line done, as JSON.
fn probe(line: &str) -> String {
    let mut fields = line.split('\t');
    let number = fields.next().unwrap_or_default();
    let kind = fields.next().unwrap_or_default();
    let arguments: Vec<&str> = fields.collect();
    let (mut errno, mut signal, mut value) = (0, String::new(), String::new());
    match kind {
        "signal_x32" => {
            let number = 0x4000_0000 + arguments[0].parse::<c_long>().expect("a number");
            signal = signalled(|| _ = unsafe { syscall(number) });
        }
        "signal_i386" => signal = signalled(|| i386(arguments[0].parse().expect("a number"))),
        _ => match act(kind, &arguments) {
            Ok(answer) => value = answer,
            Err(error) => errno = error.raw_os_error().unwrap_or(110),
        },
    }
    let value = escape(&value);
    format!(r#"{{"line":{number},"errno":{errno},"signal":"{signal}","value":"{value}"}}"#)
}

/// Whoever carries connections judges them once they are made, and resets what may not be.
fn judged(mut made: TcpStream) -> io::Result<String> {
    made.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    match made.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(String::new()),
        heard => heard.map(|_| String::new()),
    }
}

fn act(kind: &str, arguments: &[&str]) -> io::Result<String> {
    let nothing = |()| String::new();
    match (kind, arguments) {
        ("call", [name, number, arguments @ ..]) => call(name, number, arguments),
        ("call_on", [name, number, path, arguments @ ..]) => {
            let file = File::open(path.trim_start_matches("s:"))?;
            let descriptor = format!("i:{}", file.as_raw_fd());
            call(name, number, &[&[descriptor.as_str()], arguments].concat())
        }
        ("nr", [number]) => call("", number, &[]),
        ("open", [path, mode]) => open(path, mode).map(|_| String::new()),
        ("open_below", [folder, mode]) => open_below(folder, mode).map(nothing),
        ("read", [path]) => {
            let mut bytes = Vec::new();
            File::open(path)?.take(VALUE_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        ("write", [path, text]) => {
            OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes()).map(nothing)
        }
        ("list", [path]) => names(path).map(|names| names.join("\n")),
        ("link", [path]) => Ok(fs::read_link(path)?.to_string_lossy().into_owned()),
        ("links", [path]) => {
            let targets = names(path)?.into_iter().filter_map(|name| {
                let target = fs::read_link(format!("{path}/{name}")).ok()?;
                Some(target.to_string_lossy().into_owned())
            });
            Ok(targets.collect::<Vec<_>>().join("\n"))
        }
        ("connect", [host, port]) => {
            let ip = host.parse().expect("an address");
            let address = SocketAddr::new(ip, port.parse().expect("a port"));
            TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).and_then(judged)
        }
        ("abstract", [name]) => {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            UnixStream::connect_addr(&address).map(|_| String::new())
        }
        ("fill", [path]) => {
            let mut file = File::create(path)?;
            let failure = loop {
                if let Err(error) = file.write_all(&[0; 1 << 16]) {
                    break error;
                }
            };
            fs::remove_file(path)?;
            Err(failure)
        }
        ("forks", [most]) => forks(most.parse().expect("a number")).map(nothing),
        ("opens", [most]) => {
            let mut open = Vec::new();
            for _ in 0..most.parse().expect("a number") {
                open.push(File::open("/dev/null")?);
            }
            Ok(String::new())
        }
        _ => panic!("no action {kind} of {arguments:?}"),
    }
}

fn open(path: &str, mode: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(mode == "r").write(mode != "r").create(mode == "c");
    options.custom_flags(O_NONBLOCK).open(path)
}

/// Opens whichever of a folder's names can be opened.
fn open_below(folder: &str, mode: &str) -> io::Result<()> {
    let mut failure = io::Error::from_raw_os_error(ENOENT);
    for name in names(folder)? {
        match open(&format!("{folder}/{name}"), mode) {
            Ok(_) => return Ok(()),
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn names(path: &str) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(path)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// A system call by number; a clone that succeeds ends its child at once.
fn call(name: &str, number: &str, arguments: &[&str]) -> io::Result<String> {
    let mut kept: Vec<CString> = Vec::new();
    let mut buffers: Vec<Vec<u64>> = Vec::new();
    let mut words = [0 as c_long; 6];
    for (word, argument) in words.iter_mut().zip(arguments) {
        let (kind, value) = argument.split_once(':').expect("a typed argument");
        *word = match kind {
            "i" => value.parse().expect("a number"),
            "b" => {
                buffers.push(vec![0; value.parse::<usize>().expect("a length") / 8 + 1]);
                buffers.last().map_or(0, |buffer| buffer.as_ptr() as c_long)
            }
            _ => {
                kept.push(CString::new(value).expect("text"));
                kept.last().map_or(0, |text| text.as_ptr() as c_long)
            }
        };
    }
    let number: c_long = number.parse().expect("a number");
    let [a, b, c, d, e, f] = words;
    // SAFETY: pointers among the words are to buffers that live until the end of this function;
    // the calls are meant to be refused.
    let answer = unsafe { syscall(number, a, b, c, d, e, f) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    if name.starts_with("clone") && answer == 0 {
        // SAFETY: ends the child that a clone made.
        unsafe { _exit(0) };
    }
    Ok(answer.to_string())
}

/// The signal that `act` ends a child with.
fn signalled(act: impl FnOnce()) -> String {
    // SAFETY: one thread, so the child may run ordinary code; it ends by `_exit`.
    let pid = unsafe { fork() };
    if pid == 0 {
        act();
        // SAFETY: ends this child.
        unsafe { _exit(0) };
    }
    let mut status = 0;
    // SAFETY: waits for the child forked above.
    unsafe { waitpid(pid, &mut status, 0) };
    match status & 0x7f {
        0 => "none".to_owned(),
        31 => "SIGSYS".to_owned(),
        other => format!("signal {other}"),
    }
}

#[cfg(target_arch = "x86_64")]
fn i386(number: u32) {
    // SAFETY: the 32-bit entry with a number that takes no argument; it changes eax alone.
    unsafe { std::arch::asm!("int 0x80", inout("eax") number => _) };
}

#[cfg(not(target_arch = "x86_64"))]
fn i386(_: u32) {}

/// Children until the kernel says no; all of them are gone afterwards.
fn forks(most: usize) -> io::Result<()> {
    let mut children = Vec::new();
    let mut answer = Ok(());
    for _ in 0..most {
        // SAFETY: one thread; the child only pauses and ends.
        match unsafe { fork() } {
            0 => unsafe {
                pause();
                _exit(0)
            },
            -1 => {
                answer = Err(io::Error::last_os_error());
                break;
            }
            pid => children.push(pid),
        }
    }
    for pid in &children {
        // SAFETY: children of this process, not waited for yet.
        unsafe { kill(*pid, SIGKILL) };
    }
    for pid in children {
        // SAFETY: as above.
        unsafe { waitpid(pid, &mut 0, 0) };
    }
    answer
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if u32::from(control) < 0x20 => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            plain => out.push(plain),
        }
    }
    out
}
