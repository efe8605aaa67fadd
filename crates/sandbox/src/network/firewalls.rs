//! Other tables of nf_tables than the node's: whether they let through what instances send and hear.
//!
//! ```text
//! dump of tables, chains, rules ─▶ Tables ─ each base chain that such packets pass ─▶ judge ─▶ Obstacle, Doubt
//! ```
//!
//! An instance's packets come in by its device and are forwarded, so they pass the hooks prerouting,
//! forward and postrouting of the families ip and inet, and so do the answers. iptables of our day makes
//! tables of nf_tables too, which are among them; those of the old one are not, and cannot be read here.
//! What comes by `input` is for this very machine, which few policies name, and is left out.
//!
//! Looks and changes nothing. Reads no more than [`Limits`] say and refuses to judge the rest.

mod judge;

use super::netlink::{Socket, attributes};
use judge::{End, Judge, Other, Packet, Steps};
use rustix::net::netdevice::name_to_index;
use std::{collections::BTreeMap, fs, io, thread, time::Duration};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const NEW_GENERATION: u16 = SUBSYSTEM | 15;
const GET_GENERATION: u16 = SUBSYSTEM | 16;
/// `nfgenmsg`, before the attributes.
const HEAD: usize = 4;
/// Of a table: it is there and does nothing.
const DORMANT: u32 = 1;
/// Of a chain.
const POLICY_DROP: u32 = 0;

/// The priority from which on it is known which connection a packet is of.
const CONNTRACK: i32 = -200;

const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const POSTROUTING: u32 = 4;

/// What is read at the most; with more of it nothing is judged.
#[derive(Debug, Clone, Copy)]
struct Limits {
    tables: usize,
    /// Of all tables together, those that are no base chains among them.
    chains: usize,
    rules: usize,
    /// The rules' expressions.
    bytes: usize,
    /// Rules that are looked at, for all packets at all hooks: a chain that is jumped to twice is looked
    /// at twice.
    steps: usize,
}

const LIMITS: Limits = Limits {
    tables: 256,
    chains: 16 << 10,
    rules: 64 << 10,
    bytes: 32 << 20,
    steps: 1 << 20,
};
/// Somebody changes rules: how often they are asked for, and after how long again.
const ATTEMPTS: u32 = 5;
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Where no command helps.
const BLIND: &str =
    "have the chain accept what answers look like, or hang it at a priority above -200";
/// Obstacles, and doubts, that are put into words.
const SHOWN: usize = 4;

/// Why other tables were not judged.
#[derive(Debug, thiserror::Error)]
pub enum Unjudged {
    /// The kernel does not tell of them.
    #[error("{0}")]
    Unread(#[from] io::Error),
    /// What was read of them is not of one moment.
    #[error("they were changed while they were read, {attempts} times")]
    Changing {
        /// How often they were read.
        attempts: u32,
    },
    /// See [`Limits`].
    #[error("there are more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
}

fn within(now: usize, limit: usize, what: &'static str) -> Result<(), Unjudged> {
    match now <= limit {
        true => Ok(()),
        false => Err(Unjudged::TooMuch { what, limit }),
    }
}

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From an instance.
    Out,
    /// To it.
    Back,
}

/// Where a base chain hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Base {
    hook: u32,
    priority: i32,
    drops: bool,
    /// It sees the first packet of a connection alone.
    is_nat: bool,
    /// It sees packets before it is known which connection they are of.
    is_blind: bool,
}

#[derive(Debug, Default)]
struct Chain {
    base: Option<Base>,
    rules: Vec<OtherRule>,
}

#[derive(Debug)]
struct OtherRule {
    /// Its number within its table.
    handle: u64,
    expressions: Vec<u8>,
}

type Chains = BTreeMap<String, Chain>;

/// A chain that drops what functions need.
#[derive(Debug, PartialEq, Eq)]
struct Obstacle {
    family: &'static str,
    table: String,
    chain: String,
    base: Base,
    /// By its policy, or by a rule that has no condition.
    by_policy: bool,
    /// Rules whose conditions are not known here accept some of it.
    is_uncertain: bool,
    ways: Vec<Way>,
}

/// Where a rule stands that drops by conditions that may hold for what functions need.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Doubt {
    family: &'static str,
    table: String,
    chain: String,
    handle: u64,
}

#[derive(Debug, Default)]
struct Judged {
    obstacles: Vec<Obstacle>,
    /// And which way: a chain may be jumped to from several hooks.
    doubts: BTreeMap<Doubt, Vec<Way>>,
}

/// What was told of tables that are not ours.
#[derive(Debug)]
struct Tables {
    limits: Limits,
    tables: BTreeMap<(u8, String), Chains>,
    chains: usize,
    rules: usize,
    bytes: usize,
}

impl Tables {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            tables: BTreeMap::new(),
            chains: 0,
            rules: 0,
            bytes: 0,
        }
    }

    /// Of this network namespace.
    fn read(limits: Limits) -> Result<Self, Unjudged> {
        let socket = Socket::firewall()?;
        let before = generation(&socket)?;
        let mut tables = Self::new(limits);
        let body = [libc::NFPROTO_UNSPEC as u8, 0, 0, 0];
        socket.dump(
            GET_TABLE,
            &body,
            |_| {},
            |kind, body| tables.heard(kind, body),
        )?;
        socket.dump(
            GET_CHAIN,
            &body,
            |_| {},
            |kind, body| tables.heard(kind, body),
        )?;
        let passed: Vec<_> = tables
            .tables
            .iter()
            .filter(|(_, chains)| chains.values().any(|chain| chain.base.is_some()))
            .map(|(key, _)| key.clone())
            .collect();
        for (family, table) in passed {
            let body = [family, 0, 0, 0];
            let of = |question: &mut super::netlink::Messages| {
                question.text(1, &table);
            };
            socket.dump(GET_RULE, &body, of, |kind, body| tables.heard(kind, body))?;
        }
        // Each dump is of one moment, and all of them are if nothing was changed in between.
        match generation(&socket)? == before {
            true => Ok(tables),
            false => Err(io::Error::from(io::ErrorKind::Interrupted).into()),
        }
    }

    /// Tables are told before their chains, and those before their rules. What is none of it, or of a table
    /// that is not looked at, is nothing.
    fn heard(&mut self, kind: u16, message: &[u8]) -> Result<(), Unjudged> {
        let family = message.first().copied().unwrap_or_default();
        let inside = message.get(HEAD..).unwrap_or_default();
        match kind {
            NEW_TABLE => self.heard_table(family, inside),
            NEW_CHAIN => self.heard_chain(family, inside),
            NEW_RULE => self.heard_rule(family, inside),
            _ => Ok(()),
        }
    }

    fn heard_table(&mut self, family: u8, inside: &[u8]) -> Result<(), Unjudged> {
        let name = text(inside, 1);
        let sleeps = number(inside, 2).is_some_and(|flags| flags & DORMANT != 0);
        if sleeps || family_name(family).is_none() || is_ours(&name) {
            return Ok(());
        }
        self.tables.insert((family, name), Chains::new());
        within(self.tables.len(), self.limits.tables, "tables")
    }

    fn heard_chain(&mut self, family: u8, inside: &[u8]) -> Result<(), Unjudged> {
        let Some(chains) = self.tables.get_mut(&(family, text(inside, 1))) else {
            return Ok(());
        };
        let at = value(inside, 4).unwrap_or_default();
        let hooks = [PREROUTING, FORWARD, POSTROUTING];
        let hook = number(at, 1).filter(|hook| hooks.contains(hook));
        let priority = number(at, 2).unwrap_or_default().cast_signed();
        let base = hook.map(|hook| Base {
            hook,
            priority,
            drops: number(inside, 5) == Some(POLICY_DROP),
            is_nat: text(inside, 7) == "nat",
            is_blind: hook == PREROUTING && priority <= CONNTRACK,
        });
        let chain = Chain {
            base,
            rules: Vec::new(),
        };
        chains.insert(text(inside, 3), chain);
        self.chains += 1;
        within(self.chains, self.limits.chains, "chains")
    }

    fn heard_rule(&mut self, family: u8, inside: &[u8]) -> Result<(), Unjudged> {
        let chains = self.tables.get_mut(&(family, text(inside, 1)));
        let Some(chain) = chains.and_then(|chains| chains.get_mut(&text(inside, 2))) else {
            return Ok(());
        };
        let expressions = value(inside, 4).unwrap_or_default();
        let handle = value(inside, 3).and_then(|bytes| bytes.first_chunk::<8>());
        chain.rules.push(OtherRule {
            handle: handle.map_or(0, |bytes| u64::from_be_bytes(*bytes)),
            expressions: expressions.to_vec(),
        });
        self.rules += 1;
        self.bytes += expressions.len();
        within(self.rules, self.limits.rules, "rules")?;
        within(self.bytes, self.limits.bytes, "bytes of rules")
    }

    fn judged(&self, other: &Other) -> Result<Judged, Unjudged> {
        self.judged_within(other, &mut Steps::new(self.limits.steps))
    }

    fn judged_within(&self, other: &Other, steps: &mut Steps) -> Result<Judged, Unjudged> {
        let mut judged = Judged::default();
        for ((family, table), chains) in &self.tables {
            for (name, chain) in chains {
                let (Some(family), Some(base)) = (family_name(*family), chain.base) else {
                    continue;
                };
                let mut obstacle = Obstacle {
                    family,
                    table: table.clone(),
                    chain: name.clone(),
                    base,
                    by_policy: false,
                    is_uncertain: true,
                    ways: Vec::new(),
                };
                let ways: &[Way] = match base.is_nat {
                    true => &[Way::Out],
                    false => &[Way::Out, Way::Back],
                };
                for way in ways {
                    let packet = Packet {
                        way: *way,
                        base,
                        other,
                    };
                    let mut judge = Judge::new(chains, packet, steps);
                    let end = judge.chain(name)?;
                    if end == End::Dropped || end == End::GoesOn && base.drops {
                        obstacle.ways.push(*way);
                        obstacle.by_policy |= end == End::GoesOn;
                        obstacle.is_uncertain &= judge.may_accept;
                        // What helps against that helps against all of the chain.
                        continue;
                    }
                    for (chain, handle) in judge.may_drop {
                        let doubt = Doubt {
                            family,
                            table: table.clone(),
                            chain: chain.to_owned(),
                            handle,
                        };
                        let ways = judged.doubts.entry(doubt).or_default();
                        if !ways.contains(way) {
                            ways.push(*way);
                        }
                    }
                }
                if !obstacle.ways.is_empty() {
                    judged.obstacles.push(obstacle);
                }
            }
        }
        Ok(judged)
    }
}

/// Of the rules of this network namespace: each change gives them another.
fn generation(socket: &Socket) -> Result<u32, Unjudged> {
    let mut generation = None;
    let body = [libc::NFPROTO_UNSPEC as u8, 0, 0, 0];
    socket.ask(GET_GENERATION, &body, |kind, body| {
        if kind == NEW_GENERATION {
            generation = number(body.get(HEAD..).unwrap_or_default(), 1);
        }
        Ok::<(), Unjudged>(())
    })?;
    generation.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData).into())
}

/// Tables of nodes: theirs drop what is to be dropped.
fn is_ours(table: &str) -> bool {
    let slot = table.strip_prefix("freehold_").unwrap_or_default();
    slot.len() == 2 && slot.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn family_name(family: u8) -> Option<&'static str> {
    match i32::from(family) {
        libc::NFPROTO_IPV4 => Some("ip"),
        libc::NFPROTO_INET => Some("inet"),
        _ => None,
    }
}

fn value(inside: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(inside)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

fn number(inside: &[u8], wanted: u16) -> Option<u32> {
    let bytes = value(inside, wanted)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

/// Without its final zero.
fn text(inside: &[u8], wanted: u16) -> String {
    let bytes = value(inside, wanted).unwrap_or_default();
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

impl Obstacle {
    /// It is where iptables hangs its own, by whichever name: that made it, and does not know it again
    /// once nft has changed it. One that is only called so is nft's.
    fn is_of_iptables(&self) -> bool {
        let priority = match (self.table.as_str(), self.chain.as_str()) {
            ("raw", "PREROUTING") => -300,
            ("mangle", "PREROUTING" | "FORWARD" | "POSTROUTING") => -150,
            ("nat", "PREROUTING") => -100,
            ("filter", "FORWARD") => 0,
            ("security", "FORWARD") => 50,
            ("nat", "POSTROUTING") => 100,
            _ => return false,
        };
        let hook = match self.chain.as_str() {
            "PREROUTING" => PREROUTING,
            "FORWARD" => FORWARD,
            _ => POSTROUTING,
        };
        let is_its_kind = self.base.is_nat == (self.table == "nat");
        self.family == "ip"
            && is_its_kind
            && (self.base.hook, self.base.priority) == (hook, priority)
    }

    fn says(&self) -> String {
        let does = if self.is_uncertain {
            "may drop"
        } else {
            "drops"
        };
        let what = worded_ways(&self.ways);
        let why = match (self.by_policy, self.is_uncertain) {
            (true, false) => "its policy is drop, and no rule accepts it",
            (false, false) => "a rule drops whatever comes as far",
            (true, true) => "its policy is drop, and rules that are not judged here accept some",
            (false, true) => {
                "a rule drops whatever comes as far, and rules that are not judged here accept some"
            }
        };
        let blind = match self.base.is_blind && self.ways.contains(&Way::Back) {
            true => ", and before connections are known no rule tells answers from the rest",
            false => "",
        };
        format!(
            "{} {} chain {} {does} {what} ({why}{blind})",
            self.family,
            shown(&self.table),
            shown(&self.chain)
        )
    }

    /// As commands of a shell.
    fn remedies(&self) -> Vec<String> {
        let (table, chain) = (shown(&self.table), shown(&self.chain));
        let by_iptables = self.is_of_iptables();
        // Nobody knows yet where a packet goes.
        let early = self.base.hook == PREROUTING;
        let matches = |way| match (way, by_iptables, early) {
            (Way::Out, true, _) => "-i fh+",
            (Way::Back, true, true) => "-m conntrack --ctstate RELATED,ESTABLISHED",
            (Way::Back, true, false) => "-o fh+ -m conntrack --ctstate RELATED,ESTABLISHED",
            (Way::Out, false, _) => "iifname \"fh*\"",
            (Way::Back, false, true) => "ct state established,related",
            (Way::Back, false, false) => "oifname \"fh*\" ct state established,related",
        };
        let command = |way: &Way| match by_iptables {
            true => format!("iptables -t {table} -I {chain} {} -j ACCEPT", matches(*way)),
            false => format!(
                "nft 'insert rule {} {table} {chain} {} accept'",
                self.family,
                matches(*way)
            ),
        };
        let has_one = |way: &&Way| **way == Way::Out || !self.base.is_blind;
        self.ways.iter().filter(has_one).map(command).collect()
    }
}

impl Doubt {
    fn says(&self, ways: &[Way]) -> String {
        format!(
            "{} {} chain {} handle {}, which may drop some of {}",
            self.family,
            shown(&self.table),
            shown(&self.chain),
            self.handle,
            worded_ways(ways),
        )
    }
}

fn worded_ways(ways: &[Way]) -> &'static str {
    match ways {
        [Way::Out] => "what functions send",
        [Way::Back] => "what comes back to functions",
        _ => "what functions send and what comes back to them",
    }
}

/// A name of others' as it may stand in a line, and in a command.
fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    name.chars()
        .map(|c| if plain(c) { c } else { '?' })
        .collect()
}

/// What other tables do to functions' packets, in words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Firewalls {
    /// What they drop, and the commands that have them let it pass.
    pub in_the_way: Option<(String, String)>,
    /// Their rules that drop something by conditions that are not judged here.
    pub in_doubt: Option<String>,
}

/// What other tables do to functions' packets.
///
/// Errors: [`Unjudged`].
pub fn firewalls() -> Result<Firewalls, Unjudged> {
    let routes = Socket::routes()?;
    let other = Other::of(&fs::read_to_string("/proc/net/route")?, |device| {
        name_to_index(&routes, device).ok()
    });
    let tables = settled(|| Tables::read(LIMITS))?;
    Ok(worded(&tables.judged(&other)?))
}

/// What was read while nobody changed it.
fn settled<T>(read: impl Fn() -> Result<T, Unjudged>) -> Result<T, Unjudged> {
    for attempt in 1..=ATTEMPTS {
        match read() {
            Err(Unjudged::Unread(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
        if attempt < ATTEMPTS {
            thread::sleep(AGAIN_AFTER);
        }
    }
    Err(Unjudged::Changing { attempts: ATTEMPTS })
}

fn worded(judged: &Judged) -> Firewalls {
    Firewalls {
        in_the_way: in_the_way(&judged.obstacles),
        in_doubt: in_doubt(&judged.doubts),
    }
}

fn in_the_way(found: &[Obstacle]) -> Option<(String, String)> {
    if found.is_empty() {
        return None;
    }
    let says = listed(found, Obstacle::says, "and so do");
    let remedies: Vec<String> = found
        .iter()
        .take(SHOWN)
        .flat_map(Obstacle::remedies)
        .collect();
    let remedy = match remedies.is_empty() {
        true => BLIND.to_owned(),
        false => remedies.join(" && "),
    };
    Some((says, remedy))
}

fn in_doubt(found: &BTreeMap<Doubt, Vec<Way>>) -> Option<String> {
    let says = || listed(found, |(doubt, ways)| doubt.says(ways), "and so may");
    (!found.is_empty()).then(says)
}

/// The first of them, and how many more there are.
fn listed<T>(
    found: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    says: impl Fn(T) -> String,
    more: &str,
) -> String {
    let mut rest = found.into_iter();
    let mut lines: Vec<String> = rest.by_ref().take(SHOWN).map(says).collect();
    if rest.len() > 0 {
        lines.push(format!("{more} {} more", rest.len()));
    }
    lines.join("; ")
}

#[cfg(test)]
mod tests;
