//! Rules of nf_tables, expression by expression, in the words that rules are thought in.
//!
//! Numbers are those of `linux/netfilter/nf_tables.h`.

use super::netlink::Messages;
use freehold_domain::network::{Ipv4Net, Ports};

const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;

/// The verdict's register, the first of the others, and the ones of four bytes that it consists of.
const VERDICT: u32 = 0;
const FIRST: u32 = 1;
const FIRST_OF_FOUR: u32 = 8;

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;

/// Which of a packet's facts.
#[derive(Debug, Clone, Copy)]
pub enum Device {
    /// It came in by.
    In = 6,
    /// It goes out by.
    Out = 7,
}

const META_IPV: u32 = 15;
const META_PROTOCOL: u32 = 16;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
/// Where an IPv4 packet has them.
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;

/// What is told of a connection: how a packet stands to it, and what has come of it.
const STATE: u32 = 0;
const STATUS: u32 = 2;
/// `IPS_CONFIRMED`: its first packet has left.
const CONFIRMED: u32 = 8;
/// `established`, and `related`.
const KNOWN: u32 = 2;
const RELATED: u32 = 4;
/// `new`.
const NEW: u32 = 8;
/// What a limit counts.
const PACKETS: u32 = 0;
const BYTES: u32 = 1;
/// `RTN_UNICAST`.
const UNICAST: u32 = 1;
const REJECT_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;
const ADMIN_PROHIBITED: u8 = 3;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'a> {
    /// Gone, and nobody hears.
    Drop,
    /// On to what other tables say.
    Accept,
    /// To that chain, and back here after it.
    Jump(&'a str),
}

impl Verdict<'_> {
    /// As data.
    pub fn put(self, messages: &mut Messages) {
        let (code, chain) = match self {
            Self::Drop => (0, None),
            Self::Accept => (1, None),
            Self::Jump(chain) => (-3i32, Some(chain)),
        };
        messages.nest(DATA_VERDICT, |verdict| {
            verdict.big(1, code.cast_unsigned());
            if let Some(chain) = chain {
                verdict.text(2, chain);
            }
        });
    }
}

/// The expressions of one rule, in the order of their evaluation.
pub struct Rule<'a>(pub &'a mut Messages);

impl Rule<'_> {
    fn expression(self, name: &str, data: impl FnOnce(&mut Messages)) -> Self {
        self.0.nest(LIST_ELEM, |one| {
            one.text(EXPR_NAME, name).nest(EXPR_DATA, data);
        });
        self
    }

    fn compare(self, register: u32, how: u32, value: &[u8]) -> Self {
        self.expression("cmp", |cmp| {
            cmp.big(1, register).big(2, how).nest(3, |data| {
                data.put(DATA_VALUE, value);
            });
        })
    }

    fn meta(self, key: u32, register: u32) -> Self {
        self.expression("meta", |meta| {
            meta.big(1, register).big(2, key);
        })
    }

    fn payload(self, base: u32, offset: u32, len: u32, register: u32) -> Self {
        self.expression("payload", |payload| {
            payload
                .big(1, register)
                .big(2, base)
                .big(3, offset)
                .big(4, len);
        })
    }

    fn mask(self, len: u32, mask: &[u8]) -> Self {
        let nothing = vec![0u8; mask.len()];
        self.expression("bitwise", |bitwise| {
            bitwise.big(1, FIRST).big(2, FIRST).big(3, len);
            bitwise.nest(4, |data| {
                data.put(DATA_VALUE, mask);
            });
            bitwise.nest(5, |data| {
                data.put(DATA_VALUE, &nothing);
            });
        })
    }

    fn state(self, bits: u32, how: u32) -> Self {
        self.conntrack(STATE, bits, how)
    }

    fn conntrack(self, key: u32, bits: u32, how: u32) -> Self {
        let ct = self.expression("ct", |ct| {
            ct.big(1, FIRST).big(2, key);
        });
        ct.mask(4, &bits.to_ne_bytes())
            .compare(FIRST, how, &0u32.to_ne_bytes())
    }

    /// IPv4 alone.
    pub fn ipv4(self) -> Self {
        self.meta(META_IPV, FIRST)
            .compare(FIRST, EQUAL, &[libc::NFPROTO_IPV4 as u8])
    }

    /// A device whose name begins so.
    pub fn device(self, which: Device, begins: &str) -> Self {
        self.meta(which as u32, FIRST)
            .compare(FIRST, EQUAL, begins.as_bytes())
    }

    /// A device whose name does not begin so.
    pub fn other_device(self, which: Device, begins: &str) -> Self {
        self.meta(which as u32, FIRST)
            .compare(FIRST, NOT_EQUAL, begins.as_bytes())
    }

    /// This very device.
    pub fn very_device(self, which: Device, name: &str) -> Self {
        self.meta(which as u32, FIRST)
            .compare(FIRST, EQUAL, &padded(name))
    }

    /// Part of a connection that was let through.
    pub fn known(self) -> Self {
        self.state(KNOWN, NOT_EQUAL)
    }

    /// Not of such a connection, and about it: an error that it met, our own refusals among them, or what a
    /// helper of conntrack takes for its own.
    pub fn related(self) -> Self {
        self.state(RELATED, NOT_EQUAL)
    }

    /// An error that such a connection met.
    pub fn fault(self) -> Self {
        self.transport(libc::IPPROTO_ICMP).related()
    }

    /// Neither of a connection that was let through, nor about one, nor the first of a new one. What a helper
    /// of conntrack takes for its own is one like any other.
    pub fn stray(self) -> Self {
        self.state(NEW | KNOWN | RELATED, EQUAL)
    }

    /// Of a connection that an earlier packet began.
    pub fn begun(self) -> Self {
        self.conntrack(STATUS, CONFIRMED, NOT_EQUAL)
    }

    /// This transport: `IPPROTO_TCP`, `IPPROTO_UDP`.
    pub fn transport(self, protocol: i32) -> Self {
        self.meta(META_PROTOCOL, FIRST)
            .compare(FIRST, EQUAL, &[protocol as u8])
    }

    /// These ports of who is reached.
    pub fn ports(self, ports: Ports) -> Self {
        let loaded = self.payload(TRANSPORT, 2, 2, FIRST);
        let first = ports.first.to_be_bytes();
        if ports.first == ports.last {
            return loaded.compare(FIRST, EQUAL, &first);
        }
        loaded
            .compare(FIRST, AT_LEAST, &first)
            .compare(FIRST, AT_MOST, &ports.last.to_be_bytes())
    }

    /// Goes to this range.
    pub fn to(self, net: Ipv4Net) -> Self {
        self.address(DESTINATION, net)
    }

    /// Comes from this range.
    pub fn from(self, net: Ipv4Net) -> Self {
        self.address(SOURCE, net)
    }

    /// Goes beyond this range.
    pub fn not_to(self, net: Ipv4Net) -> Self {
        self.payload(NETWORK, DESTINATION, 4, FIRST)
            .mask(4, &net.mask().to_be_bytes())
            .compare(FIRST, NOT_EQUAL, &net.base().octets())
    }

    fn address(self, offset: u32, net: Ipv4Net) -> Self {
        let loaded = self.payload(NETWORK, offset, 4, FIRST);
        let masked = match net.bits() {
            32 => loaded,
            _ => loaded.mask(4, &net.mask().to_be_bytes()),
        };
        masked.compare(FIRST, EQUAL, &net.base().octets())
    }

    /// Goes to no single host elsewhere: to the machine itself, to all or to a group.
    pub fn reaches_no_other_host(self) -> Self {
        self.expression("fib", |fib| {
            // The kind of the destination's address.
            fib.big(1, FIRST).big(2, 3).big(3, 2);
        })
        .compare(FIRST, NOT_EQUAL, &UNICAST.to_ne_bytes())
    }

    /// The device it came in by and its source are in this set; what is told there is counted.
    pub fn device_and_source_in(self, set: &str) -> Self {
        self.meta(Device::In as u32, FIRST)
            .payload(NETWORK, SOURCE, 4, FIRST_OF_FOUR + 4)
            .lookup(set, FIRST, None)
    }

    /// Its destination is in this set; what is told there is counted.
    pub fn destination_in(self, set: &str) -> Self {
        self.payload(NETWORK, DESTINATION, 4, FIRST)
            .lookup(set, FIRST, None)
    }

    /// Destination and port are in this set.
    pub fn destination_and_port_in(self, set: &str) -> Self {
        self.payload(NETWORK, DESTINATION, 4, FIRST)
            .payload(TRANSPORT, 2, 2, FIRST_OF_FOUR + 1)
            .lookup(set, FIRST, None)
    }

    /// Its source is in this set; what is told there is counted.
    pub fn source_in(self, set: &str) -> Self {
        self.payload(NETWORK, SOURCE, 4, FIRST)
            .lookup(set, FIRST, None)
    }

    /// What this map says of its source.
    pub fn verdict_of_source(self, map: &str) -> Self {
        self.payload(NETWORK, SOURCE, 4, FIRST)
            .lookup(map, FIRST, Some(VERDICT))
    }

    fn lookup(self, set: &str, key: u32, into: Option<u32>) -> Self {
        self.expression("lookup", |lookup| {
            lookup.text(1, set).big(2, key);
            if let Some(register) = into {
                lookup.big(3, register);
            }
        })
    }

    /// As the machine's own.
    pub fn masquerade(self) -> Self {
        self.expression("masq", |_| {})
    }

    /// To this port of loopback instead.
    pub fn redirect(self, port: u16) -> Self {
        let loaded = self.expression("immediate", |immediate| {
            immediate.big(1, FIRST).nest(2, |data| {
                data.put(DATA_VALUE, &port.to_be_bytes());
            });
        });
        loaded.expression("redir", |redir| {
            redir.big(1, FIRST);
        })
    }

    /// Whoever sent it hears that this is forbidden, as long as there are not too many of those: the
    /// kernel says it to each a few times in a second.
    pub fn prohibit(self) -> Self {
        self.expression("reject", |reject| {
            reject.big(1, REJECT_ICMPX).put(2, &[ADMIN_PROHIBITED]);
        })
    }

    /// The connection is refused as by a host that nobody listens on; of TCP alone.
    pub fn reset(self) -> Self {
        self.expression("reject", |reject| {
            reject.big(1, REJECT_RESET).put(2, &[0]);
        })
    }

    /// See [`Verdict`].
    pub fn verdict(self, verdict: Verdict<'_>) -> Self {
        self.expression("immediate", |immediate| {
            immediate.big(1, VERDICT).nest(2, |data| verdict.put(data));
        })
    }
}

/// Connections at once, for an element of a set.
pub fn at_most_connections(messages: &mut Messages, connections: u32) {
    messages
        .text(EXPR_NAME, "connlimit")
        .nest(EXPR_DATA, |limit| {
            limit.big(1, connections);
        });
}

/// Bytes in a second, for an element of a set; what comes in one go may be a quarter of that.
pub fn at_most_bytes(messages: &mut Messages, bytes_per_s: u64) {
    let burst = u32::try_from(bytes_per_s / 4).unwrap_or(u32::MAX);
    limit(messages, bytes_per_s, burst.max(64 << 10), BYTES);
}

/// Packets in a second, for an element of a set; as many may come in one go.
pub fn at_most_packets(messages: &mut Messages, per_s: u32) {
    limit(messages, per_s.into(), per_s, PACKETS);
}

fn limit(messages: &mut Messages, per_s: u64, burst: u32, what: u32) {
    messages.text(EXPR_NAME, "limit").nest(EXPR_DATA, |limit| {
        limit
            .put(1, &per_s.to_be_bytes())
            .put(2, &1u64.to_be_bytes())
            .big(3, burst)
            .big(4, what);
    });
}

/// A device's name as the kernel compares it.
pub fn padded(name: &str) -> [u8; 16] {
    let mut bytes = [0u8; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    bytes
}
