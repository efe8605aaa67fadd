//! The lane's line to the server: requests read in bounded bites, answers queued up to a bound.

use super::{Lane, SERVER};
use crate::{
    protocol::{MESSAGE_MAX, Reply, Request, VERSION},
    spawner::sandbox::{Sandbox, State},
    sys::sockets,
};
use freehold_domain::network::{NetworkId, Ports};
use rustix::event::{
    PollFd, PollFlags, Timespec,
    epoll::{self, EventData, EventFlags},
    poll,
};
use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

/// Answers that may wait for the server to read them, before its requests wait in turn.
const OUT_MAX: usize = 4096;
/// Packets read in one go.
const READS_MAX: usize = 32;

impl Lane {
    /// Reads what the server sent; false once it is gone.
    pub(super) fn on_server(&mut self, flags: EventFlags) -> bool {
        if flags.contains(EventFlags::OUT) {
            self.writable = true;
            self.flush();
        }
        let mut packet = [0u8; MESSAGE_MAX];
        for _ in 0..READS_MAX {
            if self.out.len() >= OUT_MAX {
                break;
            }
            let received = match sockets::receive(self.socket.as_fd(), &mut packet, false) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            if received.len == 0 && self.server_is_gone() {
                return false;
            }
            let request = Request::decode(&packet[..received.len]).ok();
            match request {
                Some(Request::Hello { version: VERSION }) if !received.truncated => {
                    // The welcome of the set-up may have been read by whoever launched us.
                    if !std::mem::replace(&mut self.greeted, true) {
                        self.reply(self.welcome, Vec::new());
                    }
                }
                Some(request) if self.greeted && !received.truncated => {
                    self.on_request(request, received.descriptors);
                }
                _ => self.refuse(),
            }
        }
        self.watch_server();
        true
    }

    /// An empty packet looks like an end; only a hang-up is one.
    fn server_is_gone(&self) -> bool {
        let mut one = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let _ = poll(&mut one, Some(&zero));
        one[0]
            .revents()
            .intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }

    fn refuse(&mut self) {
        self.refused += 1;
        // One answer per packet would let a flood fill the queue of answers that matter.
        if self.refused.is_power_of_two() {
            self.reply(
                Reply::Refused {
                    count: self.refused,
                },
                Vec::new(),
            );
        }
    }

    fn on_request(&mut self, request: Request, descriptors: Vec<OwnedFd>) {
        if let Some(number) = request.instance()
            && let Some(State::Launching(_)) = self.sandboxes.get(&number).map(|s| &s.state)
        {
            // Its runtime may run already, and nobody have looked.
            self.on_control(number);
        }
        match request {
            Request::Hello { .. } => self.refuse(),
            Request::Start(start) => {
                if let Err(refused) = self.start(start, descriptors) {
                    self.refuse_start(start.token, refused);
                }
            }
            Request::Specialise(to) => {
                if let Err(refused) = self.specialise(to, descriptors) {
                    self.refuse_start(to.token, refused);
                }
            }
            Request::TakeImage {
                token,
                number,
                within_ms,
            } => {
                let within = Duration::from_millis(within_ms.into());
                if let Err(obstacle) = self.take_image(token, number, within) {
                    self.reply(Reply::ImageRefused { token, obstacle }, Vec::new());
                }
            }
            Request::Freeze { token, number } => self.freeze(token, number, true),
            Request::Thaw { token, number } => self.freeze(token, number, false),
            Request::Usage { token, number } => {
                let sandbox = self.sandboxes.get_mut(&number);
                let reply = match sandbox.filter(|s| matches!(s.state, State::Running)) {
                    Some(sandbox) => Reply::Used {
                        token,
                        usage: self.workshop.usage(sandbox),
                    },
                    None => Reply::NotThere { token },
                };
                self.reply(reply, Vec::new());
            }
            // One that is going, or a file that cannot be written, costs nobody more than fairness.
            Request::Weigh { number, cpu_weight } => {
                if self.running(number).is_some()
                    && let Some(sandbox) = self.sandboxes.get_mut(&number)
                {
                    let _ = sandbox.group.weigh(&self.workshop.guests, cpu_weight);
                }
            }
            Request::Admit {
                token,
                network,
                address,
                first,
                last,
                lives_s,
            } => {
                let admitted = self.workshop.network.as_ref().is_some_and(|exit| {
                    // Their bounds keep them small.
                    let small = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
                    let ports = Ports {
                        first: small(first),
                        last: small(last),
                    };
                    let (id, address) = (NetworkId(small(network)), Ipv4Addr::from_bits(address));
                    let lives = Duration::from_secs(lives_s.into());
                    exit.admit(id, address, ports, lives).is_ok()
                });
                let reply = match admitted {
                    true => Reply::Done { token },
                    false => Reply::NotThere { token },
                };
                self.reply(reply, Vec::new());
            }
            Request::Destroy { number } => {
                // Who was told to go is the server's to end.
                if let Some(sandbox) = self.sandboxes.get_mut(&number)
                    && matches!(sandbox.state, State::Running | State::Launching(_))
                {
                    sandbox.destroyed = true;
                    self.workshop.kill(sandbox);
                }
            }
            Request::List { token } => {
                let running = |(number, s): (&u64, &Sandbox)| {
                    matches!(s.state, State::Running).then_some((*number, s.runtime))
                };
                let all: Vec<(u64, u32)> = self.sandboxes.iter().filter_map(running).collect();
                for (number, runtime) in all {
                    self.reply(
                        Reply::Listed {
                            token,
                            number,
                            runtime,
                        },
                        Vec::new(),
                    );
                }
                self.reply(Reply::Done { token }, Vec::new());
            }
        }
    }

    pub(super) fn running(&self, number: u64) -> Option<&Sandbox> {
        self.sandboxes
            .get(&number)
            .filter(|sandbox| matches!(sandbox.state, State::Running))
    }

    fn freeze(&mut self, token: u64, number: u64, frozen: bool) {
        let there = self.running(number).is_some();
        let done = there
            && self.sandboxes.get_mut(&number).is_some_and(|sandbox| {
                sandbox
                    .group
                    .set_frozen(&self.workshop.guests, frozen)
                    .is_ok()
            });
        if done && frozen {
            self.watched.end(number);
        } else if done {
            self.watch_shares(number);
        }
        let reply = if done {
            Reply::Done { token }
        } else {
            Reply::NotThere { token }
        };
        self.reply(reply, Vec::new());
    }

    pub(super) fn reply(&mut self, reply: Reply, descriptors: Vec<OwnedFd>) {
        self.out.push_back((reply.encode(), descriptors));
        self.flush();
    }

    fn flush(&mut self) {
        while self.writable
            && let Some((packet, descriptors)) = self.out.front()
        {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            match sockets::send(self.socket.as_fd(), packet, &borrowed) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.watch_server();
                }
                // A server that is gone is noticed where its requests are read.
                _ => drop(self.out.pop_front()),
            }
        }
    }

    fn watch_server(&mut self) {
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, self.out.len() < OUT_MAX);
        wanted.set(EventFlags::OUT, !self.writable);
        let _ = epoll::modify(
            &self.epoll,
            &self.socket,
            EventData::new_u64(SERVER),
            wanted,
        );
    }
}
