//! The generator of load: many connections, one thread, one `read` and one `write` per call.
//!
//! Requests are bytes that were made before; of an answer only the status and the length are
//! looked at, and its body is shown to whoever asked. That keeps the generator below the cost of
//! the echo, so that what is measured is the other side. It refuses nothing and retries nothing:
//! an answer whose status is not of the 200s is counted by it.

use crate::{Failure, figures::Figures};
use rustix::{
    event::{Timespec, epoll},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

/// Longest wait for any answer here.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// When a run is over.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// So many calls have been answered.
    Calls(usize),
    /// So much time has passed; what is out then is still waited for.
    For(Duration),
}

/// What came of a run.
#[derive(Default)]
pub struct Came {
    /// Calls that were answered with 200, each with its time.
    pub figures: Figures,
    /// All answers by status; 0 is a connection that broke.
    pub by_status: BTreeMap<u16, usize>,
    /// From the first write to the last answer.
    pub took: Duration,
    /// The first answer that was not 200.
    pub first_wrong: Option<String>,
}

impl Came {
    /// Answers with 200.
    pub fn good(&self) -> usize {
        self.by_status.get(&200).copied().unwrap_or_default()
    }

    /// 200s per second.
    pub fn per_second(&self) -> f64 {
        self.good() as f64 / self.took.as_secs_f64()
    }

    /// Refuses a run in which anything was answered otherwise.
    pub fn all_good(self) -> Result<Self, Failure> {
        match &self.first_wrong {
            None => Ok(self),
            Some(wrong) => Err(format!("{:?}: {wrong}", self.by_status).into()),
        }
    }
}

/// Lets this process hold as many descriptors as it may.
pub fn raise_descriptors() -> Result<u64, Failure> {
    // What a service is given; only root may go beyond the hard limit of its session.
    let service = Rlimit {
        current: Some(1 << 20),
        maximum: Some(1 << 20),
    };
    if setrlimit(Resource::Nofile, service).is_ok() {
        return Ok(1 << 20);
    }
    let now = getrlimit(Resource::Nofile);
    let all = now.maximum.unwrap_or(1 << 20);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(all),
            maximum: now.maximum,
        },
    )?;
    Ok(all)
}

/// One connection.
struct Line {
    stream: TcpStream,
    got: Vec<u8>,
    begun: Instant,
    /// What of the request is not written yet.
    rest: Vec<u8>,
    is_out: bool,
    /// By the other side.
    is_closed: bool,
}

/// Connections that stay open from one run to the next.
pub struct Lines {
    address: SocketAddr,
    lines: Vec<Line>,
    poll: OwnedFd,
}

impl Lines {
    /// Opens `count` connections.
    pub fn open(address: SocketAddr, count: usize) -> Result<Self, Failure> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut lines = Vec::with_capacity(count);
        for at in 0..count {
            lines.push(Line {
                stream: connect(&poll, address, at)?,
                got: Vec::with_capacity(64 << 10),
                begun: Instant::now(),
                rest: Vec::new(),
                is_out: false,
                is_closed: false,
            });
        }
        Ok(Self {
            address,
            lines,
            poll,
        })
    }

    /// Sends what `next` gives, each connection one request at a time, until the run is over;
    /// shows each body of a 200 to `look`.
    ///
    /// Errors: nothing came for [`SILENCE_MAX`], or what came is no HTTP.
    pub fn run(
        &mut self,
        until: Until,
        mut next: impl FnMut(usize) -> Arc<[u8]>,
        mut look: impl FnMut(&[u8]) -> bool,
    ) -> Result<Came, Failure> {
        let (mut came, begun) = (Came::default(), Instant::now());
        let (mut sent, mut out) = (0, 0);
        let more = |sent: usize| match until {
            Until::Calls(calls) => sent < calls,
            Until::For(span) => begun.elapsed() < span,
        };
        for (at, line) in self.lines.iter_mut().enumerate() {
            if more(sent) {
                if line.is_closed {
                    line.stream = connect(&self.poll, self.address, at)?;
                    line.is_closed = false;
                }
                line.send(&next(sent))?;
                (sent, out) = (sent + 1, out + 1);
            }
        }
        let mut events = Vec::with_capacity(self.lines.len().max(16));
        while out > 0 {
            events.clear();
            let longest = Timespec {
                tv_sec: SILENCE_MAX.as_secs().cast_signed(),
                tv_nsec: 0,
            };
            match epoll::wait(
                &self.poll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&longest),
            ) {
                Ok(0) => return Err(format!("nothing came for {SILENCE_MAX:?}").into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let at = event.data.u64() as usize;
                let line = &mut self.lines[at];
                if !line.is_out {
                    // Closed while nothing was asked: another one is opened when there is.
                    epoll::delete(&self.poll, &line.stream)?;
                    line.is_closed = true;
                    continue;
                }
                let answer = match line.read() {
                    Ok(None) => continue,
                    Ok(Some(answer)) => answer,
                    Err(error) => {
                        came.first_wrong.get_or_insert_with(|| error.to_string());
                        *came.by_status.entry(0).or_default() += 1;
                        line.is_out = false;
                        line.got.clear();
                        out -= 1;
                        epoll::delete(&self.poll, &line.stream)?;
                        line.is_closed = true;
                        continue;
                    }
                };
                let body = &line.got[answer.body..answer.end];
                let is_good = answer.status / 100 == 2 && look(body);
                let status = match (answer.status / 100, is_good) {
                    (2, true) => 200,
                    // The right status and the wrong body.
                    (2, false) => 1,
                    _ => answer.status,
                };
                *came.by_status.entry(status).or_default() += 1;
                if is_good {
                    came.figures.add(line.begun.elapsed());
                } else {
                    let text = || {
                        let body = &body[..body.len().min(300)];
                        format!("{status}: {}", String::from_utf8_lossy(body))
                    };
                    came.first_wrong.get_or_insert_with(text);
                }
                line.got.clear();
                line.is_out = false;
                out -= 1;
                if more(sent) {
                    line.send(&next(sent))?;
                    (sent, out) = (sent + 1, out + 1);
                }
            }
        }
        came.took = begun.elapsed();
        Ok(came)
    }
}

/// A connection, listened to by the number of its line.
fn connect(poll: &OwnedFd, address: SocketAddr, at: usize) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let data = epoll::EventData::new_u64(at as u64);
    epoll::add(poll, &stream, data, epoll::EventFlags::IN)?;
    Ok(stream)
}

/// Where an answer's parts stand.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Where the body begins.
    pub body: usize,
    /// Where it ends.
    pub end: usize,
}

impl Line {
    fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.begun = Instant::now();
        self.is_out = true;
        let mut written = 0;
        // A request here fits a socket's buffer; one that does not is written in a few goes.
        while written < request.len() {
            match self.stream.write(&request[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The read finds the end and counts it.
                Err(_) => break,
            }
        }
        self.rest.clear();
        Ok(())
    }

    /// Reads what is there; the answer once it is whole.
    fn read(&mut self) -> Result<Option<Answer>, Failure> {
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err("the connection was closed".into()),
            Ok(count) => self.got.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        whole(&self.got)
    }
}

/// The answer in `got`, once it is whole: by its length, or chunked to the last chunk.
pub fn whole(got: &[u8]) -> Result<Option<Answer>, Failure> {
    let Some(head) = got.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let body = head + 4;
    let text = std::str::from_utf8(&got[..head])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.and_then(|status| status.parse::<u16>().ok());
    let status = status.ok_or_else(|| format!("no status in {text:?}"))?;
    let (mut length, mut chunked) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    let end = match length {
        Some(length) => body + length,
        None if chunked && got.ends_with(b"\r\n0\r\n\r\n") => got.len(),
        None if chunked => return Ok(None),
        None => body,
    };
    Ok((got.len() >= end).then_some(Answer { status, body, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_by_its_length_or_its_last_chunk() {
        let check = |text: &str, expected: Option<(u16, &str)>| {
            let found = whole(text.as_bytes()).unwrap();
            let found = found.map(|a| (a.status, &text[a.body..a.end]));
            assert_eq!(found, expected, "{text:?}");
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", None);
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh", None);
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            Some((200, "hi")),
        );
        check("HTTP/1.1 429 No\r\n\r\n", Some((429, "")));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
        check(chunked, None);
        let all = format!("{chunked}0\r\n\r\n");
        check(&all, Some((200, "2\r\nhi\r\n0\r\n\r\n")));
    }
}
