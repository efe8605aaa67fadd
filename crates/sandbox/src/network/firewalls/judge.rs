//! What becomes of one packet of an instance's connection in a chain of others'.
//!
//! The packet is known in part: some bits of some of its facts. So each condition holds, does not, or
//! may. What may hold for some packets alone does not stop the others: a packet goes on past such a rule,
//! and [`Judge::may_accept`] notes it if that would have accepted, and [`Judge::may_drop`] which rule it is
//! if that would have dropped. A rule that accepts and names our devices was made for them, whatever its
//! other conditions say.

use super::{
    Base, Chains, FORWARD, POSTROUTING, PREROUTING, Unjudged, Way, number, text, value, within,
};
use crate::network::{expressions::padded, netlink::attributes};
use freehold_domain::network::DEVICES;
use std::collections::{BTreeMap, BTreeSet};

/// Chains that the kernel lets jump into each other.
const DEPTH_MAX: usize = 16;

/// The devices that instances' connections go out by: name and number.
#[derive(Debug, Default)]
pub struct Other(Vec<(String, Option<u32>)>);

impl Other {
    /// Those of default routes, by what `/proc/net/route` says.
    pub fn of(table: &str, number: impl Fn(&str) -> Option<u32>) -> Self {
        let mut devices: Vec<(String, Option<u32>)> = Vec::new();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [device, "00000000", _, _, _, _, _, "00000000", ..] = fields[..] else {
                continue;
            };
            if !devices.iter().any(|(other, _)| other == device) {
                devices.push((device.to_owned(), number(device)));
            }
        }
        Self(devices)
    }

    fn name(&self) -> Bits {
        let names = self.0.iter().map(|(name, _)| Bits::exact(&padded(name)));
        names.reduce(Bits::common).unwrap_or_default()
    }

    fn index(&self) -> Bits {
        let known = |number: &Option<u32>| {
            number.map_or_else(Bits::default, |n| Bits::exact(&n.to_ne_bytes()))
        };
        let indices = self.0.iter().map(|(_, number)| known(number));
        indices.reduce(Bits::common).unwrap_or_default()
    }
}

/// Of an instance's TCP connection over IPv4.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    pub way: Way,
    pub base: Base,
    pub other: &'a Other,
}

/// How a packet leaves a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Accepted,
    Dropped,
    /// At its end.
    GoesOn,
}

/// Bytes of which some bits are known: each with the mask of those.
#[derive(Debug, Clone, Default)]
struct Bits(Vec<(u8, u8)>);

impl Bits {
    fn exact(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|byte| (*byte, 0xff)).collect())
    }

    /// What both have.
    fn common(self, other: Self) -> Self {
        let both = self.0.into_iter().zip(other.0);
        let common = |((one, first), (two, second)): ((u8, u8), (u8, u8))| {
            let known = first & second & !(one ^ two);
            (one & known, known)
        };
        Self(both.map(common).collect())
    }

    /// [`DEVICES`] and eight digits, see `names`.
    fn own_device() -> Self {
        // What `0` to `9` and `a` to `f` have in common.
        let digit = (0x20, 0xa0);
        let mut name = Self::exact(&padded(DEVICES));
        name.0[2..10].fill(digit);
        name
    }

    /// Whether it begins with these bytes, where that is known.
    fn begins_with(&self, bytes: &[u8]) -> Option<bool> {
        let mut all_known = true;
        for (place, byte) in bytes.iter().enumerate() {
            let (is, known) = self.0.get(place).copied().unwrap_or_default();
            if (is ^ byte) & known != 0 {
                return Some(false);
            }
            all_known &= known == 0xff;
        }
        all_known.then_some(true)
    }

    fn masked(self, mask: &[u8], xor: &[u8]) -> Self {
        let at = |bytes: &[u8], place: usize| bytes.get(place).copied().unwrap_or_default();
        let each = self.0.into_iter().enumerate().map(|(place, (is, known))| {
            let (mask, xor) = (at(mask, place), at(xor, place));
            ((is & mask) ^ xor, known | !mask)
        });
        Self(each.collect())
    }
}

/// A register's content.
#[derive(Debug, Clone, Default)]
struct Loaded {
    bits: Bits,
    /// It is the name of an instance's device.
    is_own_device: bool,
}

impl From<Bits> for Loaded {
    fn from(bits: Bits) -> Self {
        Self {
            bits,
            is_own_device: false,
        }
    }
}

/// What a rule does with what it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
    /// One of those, by what is not known here.
    Any,
}

/// Whether a rule's conditions hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    Maybe,
}

impl From<Option<bool>> for Holds {
    fn from(known: Option<bool>) -> Self {
        match known {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Maybe,
        }
    }
}

/// `NFTA_*` of expressions, and what of their values counts here.
const ELEMENT_NAME: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_REGISTER: u32 = 0;
const META_PROTOCOL: u32 = 1;
const META_IIF: u32 = 4;
const META_OIF: u32 = 5;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const INVALID: u32 = 1;
const ESTABLISHED: u32 = 2;
const NEW: u32 = 8;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NETWORK_HEADER: u32 = 1;
/// The header of IPv4, and where what is known of it begins.
const HEADER_LEN: usize = 20;
const PROTOCOL: usize = 9;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;
/// The first byte of an address in 240.0.0.0/4, and which of its bits that says.
const OWN_ADDRESS: (u8, u8) = (0xf0, 0xf0);
/// `struct xt_conntrack_mtinfo3`: what is matched, what of it is inverted, the states.
const XT_FLAGS: usize = 146;
const XT_INVERTED: usize = 148;
const XT_STATES: usize = 150;
const XT_STATE: u16 = 1;

/// Rules that were looked at, for all packets together, and how many may be.
#[derive(Debug)]
pub struct Steps {
    taken: usize,
    limit: usize,
}

impl Steps {
    pub fn new(limit: usize) -> Self {
        Self { taken: 0, limit }
    }

    fn take(&mut self) -> Result<(), Unjudged> {
        self.taken += 1;
        within(
            self.taken,
            self.limit,
            "rules on the ways of functions' packets",
        )
    }
}

/// One packet's way through the chains of a table.
pub struct Judge<'a> {
    chains: &'a Chains,
    packet: Packet<'a>,
    steps: &'a mut Steps,
    /// A rule accepts it whose conditions may hold.
    pub may_accept: bool,
    /// Rules that drop it if their conditions hold, which they may: the chain and the handle of each.
    pub may_drop: BTreeSet<(&'a str, u64)>,
}

impl<'a> Judge<'a> {
    pub fn new(chains: &'a Chains, packet: Packet<'a>, steps: &'a mut Steps) -> Self {
        Self {
            chains,
            packet,
            steps,
            may_accept: false,
            may_drop: BTreeSet::new(),
        }
    }

    /// How it leaves this chain.
    ///
    /// Errors: [`Unjudged::TooMuch`].
    pub fn chain(&mut self, name: &str) -> Result<End, Unjudged> {
        self.below(name, 0)
    }

    fn below(&mut self, name: &str, depth: usize) -> Result<End, Unjudged> {
        within(depth, DEPTH_MAX, "chains that jump into each other")?;
        let chains = self.chains;
        let Some((name, chain)) = chains.get_key_value(name) else {
            return Ok(End::GoesOn);
        };
        for rule in &chain.rules {
            self.steps.take()?;
            let matching = Matching::new(self.packet);
            let (holds, is_for_us, verdict) = matching.rule(&rule.expressions);
            let Some(verdict) = verdict.filter(|_| holds != Holds::No) else {
                continue;
            };
            let is_sure = holds == Holds::Yes;
            match verdict {
                Verdict::Accept if is_sure || is_for_us => return Ok(End::Accepted),
                Verdict::Drop if is_sure => return Ok(End::Dropped),
                Verdict::Return if is_sure => return Ok(End::GoesOn),
                Verdict::Accept | Verdict::Return => self.may_accept = true,
                Verdict::Any => {
                    self.may_accept = true;
                    self.may_drop.insert((name, rule.handle));
                }
                Verdict::Drop => {
                    self.may_drop.insert((name, rule.handle));
                }
                Verdict::Jump(ref to) | Verdict::Goto(ref to) => {
                    let end = self.below(to, depth + 1)?;
                    match end {
                        End::Accepted if is_sure || is_for_us => return Ok(end),
                        End::Accepted => self.may_accept = true,
                        End::Dropped if is_sure => return Ok(end),
                        End::GoesOn if is_sure && matches!(verdict, Verdict::Goto(_)) => {
                            return Ok(end);
                        }
                        End::Dropped => {
                            self.may_drop.insert((name, rule.handle));
                        }
                        End::GoesOn => {}
                    }
                }
            }
        }
        Ok(End::GoesOn)
    }
}

/// One rule's expressions, in the order of their evaluation.
struct Matching<'a> {
    packet: Packet<'a>,
    registers: BTreeMap<u32, Loaded>,
    holds: Holds,
    is_for_us: bool,
}

impl<'a> Matching<'a> {
    fn new(packet: Packet<'a>) -> Self {
        Self {
            packet,
            registers: BTreeMap::new(),
            holds: Holds::Yes,
            is_for_us: false,
        }
    }

    /// Whether its conditions hold, whether they name instances' devices, and what it does then.
    fn rule(mut self, expressions: &[u8]) -> (Holds, bool, Option<Verdict>) {
        for (_, element) in attributes(expressions) {
            let name = text(element, ELEMENT_NAME);
            let data = value(element, ELEMENT_DATA).unwrap_or_default();
            let verdict = self.expression(&name, data);
            if self.holds == Holds::No || verdict.is_some() {
                return (self.holds, self.is_for_us, verdict);
            }
        }
        (self.holds, self.is_for_us, None)
    }

    fn and(&mut self, holds: Holds) {
        self.holds = match (self.holds, holds) {
            (Holds::No, _) | (_, Holds::No) => Holds::No,
            (Holds::Yes, Holds::Yes) => Holds::Yes,
            _ => Holds::Maybe,
        };
    }

    fn expression(&mut self, name: &str, data: &[u8]) -> Option<Verdict> {
        match name {
            "meta" => self.meta(data),
            "ct" => {
                let state = (number(data, 2) == Some(CT_STATE)).then(|| self.state());
                self.load(data, 1, state.unwrap_or_default().into());
            }
            "payload" => self.load(data, 1, self.payload(data).into()),
            "bitwise" => self.load(data, 2, self.bitwise(data).into()),
            "cmp" => self.compare(data),
            "immediate" if number(data, 1) == Some(VERDICT_REGISTER) => return verdict(data),
            "immediate" => self.load(data, 1, Bits::default().into()),
            "lookup" if number(data, 3) == Some(VERDICT_REGISTER) => return Some(Verdict::Any),
            "queue" | "synproxy" => return Some(Verdict::Any),
            "reject" => return Some(Verdict::Drop),
            "masq" | "nat" | "redir" => return Some(Verdict::Accept),
            "match" => self.extension(data),
            "target" => return target(&text(data, 1)),
            // What they do is not for us, and lets a packet go on.
            "counter" | "log" | "notrack" | "objref" | "flow_offload" | "last" | "dup"
            | "tproxy" => {}
            // They load what is not known here.
            "byteorder" | "exthdr" | "fib" | "hash" | "numgen" | "osf" | "rt" | "socket"
            | "tunnel" | "xfrm" => self.registers.clear(),
            // Sets, rates and whatever else may hold.
            _ => {
                self.registers.clear();
                self.and(Holds::Maybe);
            }
        }
        None
    }

    /// Into the register that the attribute `at` names; there is none where something is set instead.
    fn load(&mut self, data: &[u8], at: u16, loaded: Loaded) {
        if let Some(register) = number(data, at) {
            self.registers.insert(place(register), loaded);
        }
    }

    fn meta(&mut self, data: &[u8]) {
        let key = number(data, 2).unwrap_or_default();
        let loaded = match key {
            META_PROTOCOL => Bits::exact(&0x0800u16.to_be_bytes()).into(),
            META_NFPROTO => Bits::exact(&[libc::NFPROTO_IPV4 as u8]).into(),
            META_L4PROTO => Bits::exact(&[libc::IPPROTO_TCP as u8]).into(),
            // Nobody knows yet, and the rule ends.
            META_OIF | META_OIFNAME if self.packet.base.hook == PREROUTING => {
                return self.and(Holds::No);
            }
            META_IIF | META_OIF | META_IIFNAME | META_OIFNAME => {
                let comes_in = [META_IIF, META_IIFNAME].contains(&key);
                let is_name = [META_IIFNAME, META_OIFNAME].contains(&key);
                let is_own = comes_in == (self.packet.way == Way::Out);
                let bits = match (is_own, is_name) {
                    (true, true) => Bits::own_device(),
                    // It is newer than the rule, which cannot mean it: no device has this number.
                    (true, false) => Bits::exact(&0u32.to_ne_bytes()),
                    (false, true) => self.packet.other.name(),
                    (false, false) => self.packet.other.index(),
                };
                Loaded {
                    bits,
                    is_own_device: is_own && is_name,
                }
            }
            _ => Loaded::default(),
        };
        self.load(data, 1, loaded);
    }

    /// How it stands to its connection.
    fn state(&self) -> Bits {
        Bits::exact(&self.states().to_ne_bytes())
    }

    fn states(&self) -> u32 {
        match self.packet.way {
            _ if self.packet.base.is_blind => INVALID,
            Way::Out => NEW,
            Way::Back => ESTABLISHED,
        }
    }

    fn payload(&self, data: &[u8]) -> Bits {
        let [base, offset, len] = [2, 3, 4].map(|kind| number(data, kind).unwrap_or_default());
        // Its address is the machine's before the hooks behind routing see it.
        let is_own =
            [FORWARD, POSTROUTING].contains(&self.packet.base.hook) || self.packet.way == Way::Out;
        if base != NETWORK_HEADER {
            return Bits::default();
        }
        let mut header = Bits(vec![(0, 0); HEADER_LEN]);
        header.0[PROTOCOL] = (libc::IPPROTO_TCP as u8, 0xff);
        match self.packet.way {
            Way::Out => header.0[SOURCE] = OWN_ADDRESS,
            Way::Back if is_own => header.0[DESTINATION] = OWN_ADDRESS,
            Way::Back => {}
        }
        // A prefix of whole bytes is loaded as so many of them.
        let bytes = header.0.into_iter().skip(offset as usize);
        Bits(bytes.take(len as usize).collect())
    }

    fn bitwise(&self, data: &[u8]) -> Bits {
        let from = number(data, 1).and_then(|register| self.registers.get(&place(register)));
        let operand = |kind| value(data, kind).and_then(|data| value(data, DATA_VALUE));
        let is_masking = number(data, 6).unwrap_or_default() == 0;
        match (from, operand(4), operand(5)) {
            (Some(from), Some(mask), Some(xor)) if is_masking => {
                from.bits.clone().masked(mask, xor)
            }
            _ => Bits::default(),
        }
    }

    fn compare(&mut self, data: &[u8]) {
        let from = number(data, 1).and_then(|register| self.registers.get(&place(register)));
        let from = from.cloned().unwrap_or_default();
        let with = value(data, 3).and_then(|data| value(data, DATA_VALUE));
        let with = with.unwrap_or_default();
        let is = from.bits.begins_with(with);
        let holds = match number(data, 2) {
            Some(EQUAL) => is.into(),
            Some(NOT_EQUAL) => is.map(|is| !is).into(),
            _ => Holds::Maybe,
        };
        // A node's or a lane's, and not one device by its whole name.
        let names_ours = with.starts_with(DEVICES.as_bytes()) && !with.contains(&0);
        self.is_for_us |= from.is_own_device
            && names_ours
            && number(data, 2) == Some(EQUAL)
            && holds != Holds::No;
        self.and(holds);
    }

    /// What iptables asks its own extensions.
    fn extension(&mut self, data: &[u8]) {
        let name = text(data, 1);
        let info = value(data, 3).unwrap_or_default();
        let short = |at: usize| {
            let bytes = info.get(at..)?.first_chunk::<2>()?;
            Some(u16::from_ne_bytes(*bytes))
        };
        let asked = (short(XT_FLAGS), short(XT_INVERTED), short(XT_STATES));
        match (name.as_str(), number(data, 2), asked) {
            ("comment", ..) => {}
            ("conntrack", Some(3), (Some(flags), Some(inverted), Some(states)))
                if flags & XT_STATE != 0 =>
            {
                let has = u32::from(states) & self.states() != 0;
                self.and(Some(has != (inverted & XT_STATE != 0)).into());
                if flags != XT_STATE {
                    self.and(Holds::Maybe);
                }
            }
            _ => self.and(Holds::Maybe),
        }
    }
}

/// Registers of 16 bytes have other numbers than those of four that they consist of.
fn place(register: u32) -> u32 {
    match register {
        1..=4 => 4 + 4 * register,
        other => other,
    }
}

fn verdict(data: &[u8]) -> Option<Verdict> {
    let verdict = value(value(data, 2)?, DATA_VERDICT)?;
    let chain = || text(verdict, 2);
    Some(match number(verdict, 1)?.cast_signed() {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -1 => return None,
        -3 => Verdict::Jump(chain()),
        -4 => Verdict::Goto(chain()),
        -5 => Verdict::Return,
        _ => Verdict::Any,
    })
}

/// What iptables has done by its own extensions.
fn target(name: &str) -> Option<Verdict> {
    match name {
        "REJECT" => Some(Verdict::Drop),
        "MASQUERADE" | "SNAT" | "DNAT" | "REDIRECT" | "NETMAP" => Some(Verdict::Accept),
        "NFQUEUE" | "QUEUE" | "SYNPROXY" => Some(Verdict::Any),
        _ => None,
    }
}
