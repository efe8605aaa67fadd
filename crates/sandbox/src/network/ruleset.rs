//! The node's own table of nf_tables.
//!
//! ```text
//! forward, input ─ from a device of ours ─▶ from_L ─ (device, source) known, within its rate ─▶ allowed_L
//!                                                  └ else dropped: spoofed, IPv6, nobody's
//! allowed_L ─ known connection ─▶ accept
//!           ─ new, within the rate of those ─▶ bound_L: source ─▶ internet │ policy_N, while it has
//!             room for a connection
//!           ─ else refused
//! internet ─ port 25, this machine, near ranges, neighbours ─▶ refused
//!          ─ else accepted
//! policy_N ─ its rules, the answers to its names ─▶ accepted      (and `internet`, if it says so)
//! forward ─ to a device of ours ─▶ answers alone, within its rate
//! output  ─ to a device of ours ─▶ answers alone
//! ```
//!
//! The table is made once, by the supervisor. What changes afterwards are elements of sets: who has
//! which policy ([`Binder`]), which addresses a policy's names have ([`Binder::admit`]), and the
//! neighbours. Accepting here is no word for other tables: theirs are asked as well.

use super::{
    Plan,
    expressions::{
        Device, Rule, Verdict, at_most_bytes, at_most_connections, at_most_packets, padded,
    },
    names,
    netlink::{APPEND, CREATE, EXCLUSIVE, Messages, Socket},
};
use freehold_domain::network::{
    DEVICES, Host, InstanceLimits, Ipv4Net, NEAR_IPV4, NetworkId, Policy, Ports,
};
use std::{io, net::Ipv4Addr, time::Duration};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;

const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
/// Before the usual filters, so that what is refused is refused by us and at once.
const PRIORITY: i32 = -5;
/// Where destinations are changed.
const PRIORITY_DESTINATION: i32 = -100;
const LOOPBACK: Ipv4Net = Ipv4Net::around(Ipv4Addr::LOCALHOST, 8);
/// Where source addresses are changed.
const PRIORITY_SOURCE: i32 = 100;

const MAP: u32 = 8;
const WITH_TIMEOUT: u32 = 0x10;
const VERDICTS: u32 = 0xffff_ff00;
/// Types by which `nft list` prints keys.
const TYPE_ADDRESS: u32 = 7;
const TYPE_PORT: u32 = 13;
const TYPE_DEVICE: u32 = 41;

const INTERNET: &str = "internet";
const NEIGHBOURS: &str = "neighbours";
const REFUSE: &str = "refuse";
const FOREIGN: &str = "foreign";
/// Gone, and whoever sent it hears at once.
const REFUSED: Verdict<'static> = Verdict::Jump(REFUSE);

/// Messages that take effect together or not at all.
struct Batch {
    messages: Messages,
    table: String,
    /// Sets are named by a number too within one batch.
    sets: u32,
}

impl Batch {
    fn of(table: &str) -> Self {
        let mut messages = Messages::default();
        messages.begin(BATCH_BEGIN, 0, false, &head(0, SUBSYSTEM));
        Self {
            messages,
            table: table.to_owned(),
            sets: 0,
        }
    }

    fn begin(&mut self, kind: u16, flags: u16) -> &mut Messages {
        let kind = SUBSYSTEM << 8 | kind;
        let family = libc::NFPROTO_INET as u8;
        self.messages.begin(kind, flags, false, &head(family, 0))
    }

    fn table(&mut self, kind: u16, flags: u16) {
        let table = self.table.clone();
        self.begin(kind, flags).text(1, &table);
    }

    fn chain(&mut self, name: &str) {
        let table = self.table.clone();
        self.begin(NEW_CHAIN, CREATE).text(1, &table).text(3, name);
    }

    fn base_chain(&mut self, name: &str, kind: &str, hook: u32, priority: i32) {
        let table = self.table.clone();
        self.begin(NEW_CHAIN, CREATE)
            .text(1, &table)
            .text(3, name)
            .nest(4, |data| {
                data.big(1, hook).big(2, priority.cast_unsigned());
            })
            .big(5, 1)
            .text(7, kind);
    }

    fn rule(&mut self, chain: &str, of: impl FnOnce(Rule<'_>) -> Rule<'_>) {
        let table = self.table.clone();
        self.begin(NEW_RULE, CREATE | APPEND)
            .text(1, &table)
            .text(2, chain)
            .nest(4, |list| {
                of(Rule(list));
            });
    }

    fn set(&mut self, name: &str, flags: u32, key: &[u32], key_len: u32) {
        let (table, id) = (self.table.clone(), self.sets + 1);
        self.sets = id;
        let kind = key.iter().fold(0, |all, one| all << 6 | one);
        let set = self.begin(NEW_SET, CREATE);
        set.text(1, &table)
            .text(2, name)
            .big(3, flags)
            .big(4, kind)
            .big(5, key_len);
        if flags & MAP != 0 {
            set.big(6, VERDICTS);
        }
        set.big(10, id);
    }

    /// `element` puts what follows its key.
    fn element(&mut self, kind: u16, set: &str, key: &[u8], element: impl FnOnce(&mut Messages)) {
        let table = self.table.clone();
        let flags = if kind == NEW_ELEMENTS { CREATE } else { 0 };
        self.begin(kind, flags)
            .text(1, &table)
            .text(2, set)
            .nest(3, |list| {
                list.nest(1, |one| {
                    one.nest(1, |data| {
                        data.put(1, key);
                    });
                    element(one);
                });
            });
    }

    /// Everything out of a set, or out of a chain.
    fn clear(&mut self, kind: u16, name: &str) {
        let table = self.table.clone();
        self.begin(kind, 0).text(1, &table).text(2, name);
    }

    fn commit(mut self, socket: &Socket) -> io::Result<()> {
        // One answer for all: there may be more rules than the socket has room for answers.
        self.messages.answer_last();
        self.messages
            .begin(BATCH_END, 0, false, &head(0, SUBSYSTEM));
        socket.send(self.messages)
    }
}

/// `nfgenmsg`.
fn head(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

type Condition = fn(Rule<'_>) -> Rule<'_>;
/// What may come to an instance: packets of what it began, and errors that those met.
const ANSWERS: [Condition; 2] = [|rule| rule.known(), |rule| rule.fault()];
/// What of this machine's own may: its refusals too, which are no helper's.
const OWN_ANSWERS: [Condition; 2] = [|rule| rule.known(), |rule| rule.related()];

/// The table of the node with this slot.
fn table(slot: u8) -> String {
    format!("freehold_{slot:02x}")
}

fn sources(lane: u16) -> String {
    format!("sources_{lane}")
}
fn sinks(lane: u16) -> String {
    format!("sinks_{lane}")
}
fn begins(lane: u16) -> String {
    format!("begins_{lane}")
}
fn bound(lane: u16) -> String {
    format!("bound_{lane}")
}
fn policy_chain(place: usize) -> String {
    format!("policy_{place}")
}
fn answers_to(place: usize) -> String {
    format!("names_{place}")
}

/// Leads every TCP connection of this network namespace that goes beyond loopback to `port` of
/// loopback, in a table of the namespace's own.
pub fn divert(socket: &Socket, port: u16) -> io::Result<()> {
    let mut batch = Batch::of("freehold");
    batch.table(NEW_TABLE, CREATE | EXCLUSIVE);
    batch.base_chain("output", "nat", OUTPUT, PRIORITY_DESTINATION);
    batch.rule("output", |rule| {
        rule.ipv4()
            .not_to(LOOPBACK)
            .transport(libc::IPPROTO_TCP)
            .redirect(port)
    });
    batch.commit(socket)
}

/// Removes the table of a node that is gone, if there is one.
pub fn remove(socket: &Socket, slot: u8) -> io::Result<()> {
    let mut batch = Batch::of(&table(slot));
    batch.table(DELETE_TABLE, 0);
    match batch.commit(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes the node's table.
pub fn make(socket: &Socket, plan: &Plan, lanes: u16) -> io::Result<()> {
    let mut batch = Batch::of(&table(plan.slot));
    batch.table(NEW_TABLE, CREATE | EXCLUSIVE);
    internet(&mut batch);
    for (place, policy) in plan.policies.iter().enumerate() {
        named(&mut batch, place, policy);
    }
    for (name, kind, hook, priority) in [
        ("forward", "filter", FORWARD, PRIORITY),
        ("input", "filter", INPUT, PRIORITY),
        ("output", "filter", OUTPUT, PRIORITY),
        ("postrouting", "nat", POSTROUTING, PRIORITY_SOURCE),
    ] {
        batch.base_chain(name, kind, hook, priority);
    }
    for lane in 0..lanes {
        of_lane(&mut batch, plan, lane);
    }
    let ours = names::devices(plan.slot);
    // Of ours, but of no lane: nobody's.
    for (chain, device) in [
        ("forward", Device::In),
        ("input", Device::In),
        ("forward", Device::Out),
    ] {
        batch.rule(chain, |rule| {
            rule.device(device, &ours).verdict(Verdict::Drop)
        });
    }
    for answer in OWN_ANSWERS {
        batch.rule("output", |rule| {
            answer(rule.device(Device::Out, &ours).ipv4()).verdict(Verdict::Accept)
        });
    }
    batch.chain(FOREIGN);
    batch.rule("forward", |rule| rule.verdict(Verdict::Jump(FOREIGN)));
    batch.rule("output", |rule| {
        rule.device(Device::Out, &ours).verdict(Verdict::Drop)
    });
    batch.rule("postrouting", |rule| {
        rule.ipv4()
            .from(names::range(plan.slot))
            .other_device(Device::Out, DEVICES)
            .masquerade()
    });
    batch.commit(socket)
}

/// What a device forwards only since we asked it to, and not for us, it goes on not to forward. Nobody asked
/// it for IPv6.
fn foreign(batch: &mut Batch, device: &str) {
    batch.rule(FOREIGN, |rule| {
        rule.ipv4()
            .very_device(Device::In, device)
            .other_device(Device::Out, DEVICES)
            .verdict(Verdict::Drop)
    });
}

fn internet(batch: &mut Batch) {
    batch.chain(REFUSE);
    batch.rule(REFUSE, |rule| rule.transport(libc::IPPROTO_TCP).reset());
    batch.rule(REFUSE, |rule| rule.prohibit());
    batch.chain(NEIGHBOURS);
    batch.chain(INTERNET);
    let ports = |port| Ports {
        first: port,
        last: port,
    };
    batch.rule(INTERNET, |rule| {
        rule.transport(libc::IPPROTO_TCP)
            .ports(ports(25))
            .verdict(REFUSED)
    });
    batch.rule(INTERNET, |rule| {
        rule.reaches_no_other_host().verdict(REFUSED)
    });
    for (net, _) in NEAR_IPV4 {
        batch.rule(INTERNET, |rule| rule.to(net).verdict(REFUSED));
    }
    batch.rule(INTERNET, |rule| rule.verdict(Verdict::Jump(NEIGHBOURS)));
    batch.rule(INTERNET, |rule| rule.verdict(Verdict::Accept));
}

fn named(batch: &mut Batch, place: usize, policy: &Policy) {
    let chain = policy_chain(place);
    batch.chain(&chain);
    let transports = [libc::IPPROTO_TCP, libc::IPPROTO_UDP];
    for rule in &policy.rules {
        let freehold_domain::network::Rule::To(Host::Net(net), ports) = rule else {
            continue;
        };
        for protocol in transports {
            batch.rule(&chain, |rule| {
                rule.transport(protocol)
                    .to(*net)
                    .ports(*ports)
                    .verdict(Verdict::Accept)
            });
        }
    }
    if policy.has_names() {
        let set = answers_to(place);
        batch.set(&set, WITH_TIMEOUT, &[TYPE_ADDRESS, TYPE_PORT], 8);
        for protocol in transports {
            batch.rule(&chain, |rule| {
                rule.transport(protocol)
                    .destination_and_port_in(&set)
                    .verdict(Verdict::Accept)
            });
        }
    }
    if policy.has_internet() {
        batch.rule(&chain, |rule| rule.verdict(Verdict::Jump(INTERNET)));
    }
}

fn of_lane(batch: &mut Batch, plan: &Plan, lane: u16) {
    let devices = names::devices_of_lane(plan.slot, lane);
    let (from, allowed) = (format!("from_{lane}"), format!("allowed_{lane}"));
    batch.set(&sources(lane), 0, &[TYPE_DEVICE, TYPE_ADDRESS], 20);
    batch.set(&sinks(lane), 0, &[TYPE_ADDRESS], 4);
    batch.set(&begins(lane), 0, &[TYPE_ADDRESS], 4);
    batch.set(&bound(lane), MAP, &[TYPE_ADDRESS], 4);
    batch.chain(&allowed);
    batch.chain(&from);
    batch.rule(&from, |rule| {
        rule.ipv4()
            .device_and_source_in(&sources(lane))
            .verdict(Verdict::Jump(&allowed))
    });
    batch.rule(&from, |rule| rule.verdict(Verdict::Drop));
    // One instance reaches no other, of this node or of another one of the machine.
    batch.rule(&allowed, |rule| {
        rule.device(Device::Out, DEVICES).verdict(REFUSED)
    });
    batch.rule(&allowed, |rule| rule.known().verdict(Verdict::Accept));
    batch.rule(&allowed, |rule| rule.fault().verdict(Verdict::Accept));
    batch.rule(&allowed, |rule| rule.stray().verdict(Verdict::Drop));
    // What nobody has answered yet is new with every packet, and has begun with the first.
    batch.rule(&allowed, |rule| {
        rule.begun().verdict_of_source(&bound(lane))
    });
    batch.rule(&allowed, |rule| {
        rule.source_in(&begins(lane))
            .verdict_of_source(&bound(lane))
    });
    batch.rule(&allowed, |rule| rule.verdict(REFUSED));
    for chain in ["forward", "input"] {
        batch.rule(chain, |rule| {
            rule.device(Device::In, &devices)
                .verdict(Verdict::Jump(&from))
        });
    }
    for answer in ANSWERS {
        batch.rule("forward", |rule| {
            answer(rule.device(Device::Out, &devices).ipv4())
                .destination_in(&sinks(lane))
                .verdict(Verdict::Accept)
        });
    }
}

/// Whom the machine reaches without a gateway, whatever addresses they have.
pub fn set_neighbours(socket: &Socket, slot: u8, neighbours: &[Ipv4Net]) -> io::Result<()> {
    let mut batch = Batch::of(&table(slot));
    batch.clear(DELETE_RULE, NEIGHBOURS);
    for net in neighbours {
        batch.rule(NEIGHBOURS, |rule| rule.to(*net).verdict(REFUSED));
    }
    batch.commit(socket)
}

/// One more device forwards since a node asked it to.
pub fn add_opened(socket: &Socket, slot: u8, device: &str) -> io::Result<()> {
    let mut batch = Batch::of(&table(slot));
    foreign(&mut batch, device);
    batch.commit(socket)
}

/// What devices forward is none of ours any more.
pub fn forget_opened(socket: &Socket, slot: u8) -> io::Result<()> {
    let mut batch = Batch::of(&table(slot));
    batch.clear(DELETE_RULE, FOREIGN);
    batch.commit(socket)
}

/// Who has which policy: the part of the table that one lane changes.
#[derive(Debug)]
pub struct Binder {
    socket: Socket,
    plan: Plan,
    lane: u16,
    table: String,
}

impl Binder {
    /// With nobody bound; what an earlier holder of the lane left is gone.
    pub fn new(plan: Plan, lane: u16) -> io::Result<Self> {
        let binder = Self {
            socket: Socket::firewall()?,
            table: table(plan.slot),
            plan,
            lane,
        };
        let mut batch = Batch::of(&binder.table);
        for set in [sources(lane), sinks(lane), begins(lane), bound(lane)] {
            batch.clear(DELETE_ELEMENTS, &set);
        }
        batch.commit(&binder.socket)?;
        Ok(binder)
    }

    fn key_of_source(address: Ipv4Addr) -> [u8; 20] {
        let mut key = [0u8; 20];
        key[..16].copy_from_slice(&padded(&names::device(address)));
        key[16..].copy_from_slice(&address.octets());
        key
    }

    /// An instance with this address may be bound; it reaches nobody before that.
    pub fn enter(&self, address: Ipv4Addr) -> io::Result<()> {
        let InstanceLimits {
            bytes_per_s: rate,
            begun_per_s,
            ..
        } = self.plan.limits;
        let mut batch = Batch::of(&self.table);
        let key = Self::key_of_source(address);
        batch.element(NEW_ELEMENTS, &sources(self.lane), &key, |element| {
            element.nest(7, |limit| at_most_bytes(limit, rate));
        });
        let key = address.octets();
        batch.element(NEW_ELEMENTS, &sinks(self.lane), &key, |element| {
            element.nest(7, |limit| at_most_bytes(limit, rate));
        });
        batch.element(NEW_ELEMENTS, &begins(self.lane), &key, |element| {
            element.nest(7, |limit| at_most_packets(limit, begun_per_s));
        });
        batch.commit(&self.socket)
    }

    /// From here on the instance reaches what this policy says.
    ///
    /// Errors: [`io::ErrorKind::NotFound`] for a policy that the node does not have.
    pub fn bind(&self, address: Ipv4Addr, network: NetworkId) -> io::Result<()> {
        let chain = match network.named() {
            _ if network == NetworkId::NONE => return Ok(()),
            None => INTERNET.to_owned(),
            Some(place) if place < self.plan.policies.len() => policy_chain(place),
            Some(_) => return Err(io::ErrorKind::NotFound.into()),
        };
        let connections = self.plan.limits.connections;
        let mut batch = Batch::of(&self.table);
        let key = address.octets();
        batch.element(NEW_ELEMENTS, &bound(self.lane), &key, |element| {
            element
                .nest(2, |data| Verdict::Jump(&chain).put(data))
                .nest(7, |limit| at_most_connections(limit, connections));
        });
        batch.commit(&self.socket)
    }

    /// It reaches nobody any more, and its address may be another's.
    pub fn leave(&self, address: Ipv4Addr, is_bound: bool) -> io::Result<()> {
        let mut batch = Batch::of(&self.table);
        let key = Self::key_of_source(address);
        batch.element(DELETE_ELEMENTS, &sources(self.lane), &key, |_| {});
        let key = address.octets();
        batch.element(DELETE_ELEMENTS, &sinks(self.lane), &key, |_| {});
        batch.element(DELETE_ELEMENTS, &begins(self.lane), &key, |_| {});
        if is_bound {
            batch.element(DELETE_ELEMENTS, &bound(self.lane), &key, |_| {});
        }
        batch.commit(&self.socket)
    }

    /// A name of a policy has this address: these ports of it may be reached for a while.
    ///
    /// Errors: [`io::ErrorKind::NotFound`] for a policy without names;
    /// [`io::ErrorKind::InvalidInput`] for ports that no rule of it for names has.
    pub fn admit(
        &self,
        network: NetworkId,
        address: Ipv4Addr,
        ports: Ports,
        lives: Duration,
    ) -> io::Result<()> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let place = network.named().ok_or_else(missing)?;
        let policy = self.plan.policies.get(place).ok_or_else(missing)?;
        if !policy.has_names() {
            return Err(missing());
        }
        let is_its = policy.rules.iter().any(|rule| {
            matches!(rule, freehold_domain::network::Rule::To(Host::Name(_), of) if *of == ports)
        });
        if !is_its {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let keys: Vec<[u8; 8]> = (ports.first..=ports.last)
            .map(|port| {
                let mut key = [0u8; 8];
                key[..4].copy_from_slice(&address.octets());
                key[4..6].copy_from_slice(&port.to_be_bytes());
                key
            })
            .collect();
        let lives_ms = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX);
        let set = answers_to(place);
        // An element that is there keeps its time, so it makes room for its successor. To add it first
        // has the removal find one always: a batch that fails is undone by the kernel at leisure, some
        // ten milliseconds in which the spawner would do nothing else.
        let mut batch = Batch::of(&self.table);
        for key in &keys {
            let lives = |element: &mut Messages| {
                element.put(4, &lives_ms.to_be_bytes());
            };
            batch.element(NEW_ELEMENTS, &set, key, lives);
            batch.element(DELETE_ELEMENTS, &set, key, |_| {});
            batch.element(NEW_ELEMENTS, &set, key, lives);
        }
        batch.commit(&self.socket)
    }
}
