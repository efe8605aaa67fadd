//! The table of keys: the one place that says which there are.
//!
//! Parsing, `freehold config show`, messages, the book's table and the tests of every key are made
//! from it. A default that a part of the platform has is taken from that part.
//!
//! A new key is a line here, its use where [`Config`] is handed down (`serve/settings.rs`), and, if
//! it takes effect at a reload, a user that asks for it anew each time.

use super::{
    kind::{Bounds, Kind, Value, within},
    measure::{Size, Span},
    policies::Policies,
};
use freehold_api::Network as Peers;
use freehold_domain::{Region, TenantId, limits::Limits, network};
use freehold_engine::EngineConfig;
use freehold_flow::queue::QueuePolicy;
use freehold_sandbox::{LaunchOptions, volumes};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its table in the file.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    about: &'static str,
    /// What it may be.
    pub kind: Kind,
    preset: fn() -> Preset,
    /// When a change takes effect.
    pub when: When,
}

/// When a change of a key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At `freehold reload`.
    Reload,
    /// At the next start.
    Start,
}

/// What holds where nothing is given.
pub enum Preset {
    /// This value.
    Is(Value),
    /// What the machine or the first start makes of it, in words.
    Made(&'static str),
}

impl Key {
    /// `section.name`.
    pub fn dotted(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment's variable, `FREEHOLD_SECTION_NAME`.
    pub fn variable(&self) -> String {
        format!("FREEHOLD_{}_{}", self.section, self.name).to_uppercase()
    }

    /// One line about it.
    pub fn about(&self) -> &'static str {
        self.about.trim()
    }

    /// Its default as the file would have it; null where the machine makes it.
    pub fn preset_json(&self) -> serde_json::Value {
        match self.preset() {
            Preset::Is(value) => value.json(),
            Preset::Made(_) => serde_json::Value::Null,
        }
    }

    /// What the machine or the first start makes of it, in words; none where the default is a value.
    pub fn preset_words(&self) -> Option<&'static str> {
        match self.preset() {
            Preset::Is(_) => None,
            Preset::Made(words) => Some(words),
        }
    }

    /// What holds where nothing is given.
    pub fn preset(&self) -> Preset {
        (self.preset)()
    }
}

/// What the value of a key becomes for those who use it.
trait Field: Sized {
    /// The value has been read by the key's kind, or is its default.
    fn of(value: Option<&Value>) -> Self;
}

/// Field types, and the values that they come from.
macro_rules! fields {
    ($($type:ty: $pattern:pat => $is:expr;)*) => {
        $(impl Field for $type {
            fn of(value: Option<&Value>) -> Self {
                match value {
                    Some($pattern) => $is,
                    other => unreachable!("{other:?} is not of the key's kind"),
                }
            }
        })*
    };
}

fields! {
    bool: Value::Flag(flag) => *flag;
    u16: Value::Count(n) => u16::try_from(*n).expect("the bounds of its key keep it small");
    u32: Value::Count(n) => u32::try_from(*n).expect("the bounds of its key keep it small");
    u64: Value::Count(n) => *n;
    usize: Value::Count(n) => usize::try_from(*n).expect("the bounds of its key keep it small");
    Size: Value::Size(size) => *size;
    Span: Value::Span(span) => *span;
    Vec<Span>: Value::Spans(spans) => spans.clone();
    SocketAddr: Value::Address(address) => *address;
    TenantId: Value::Account(id) => id.clone();
    Region: Value::Region(region) => region.clone();
    Vec<Region>: Value::Regions(regions) => regions.clone();
    String: Value::Domain(text) | Value::Url(text) | Value::Mail(text) => text.clone();
    Vec<String>: Value::Hosts(hosts) => hosts.clone();
    Vec<Peers>: Value::Networks(networks) => networks.clone();
    PathBuf: Value::File(path) => path.clone();
    BTreeMap<String, PathBuf>: Value::Paths(paths) => paths.clone();
    NetworkName: Value::Network(name) => NetworkName(name.clone());
    Policies: Value::Policies(policies) => policies.clone();
    Cpu: Value::Word(word) => if *word == LAMBDA { Cpu::Lambda } else { Cpu::Burst };
}

impl<T: Field> Field for Option<T> {
    fn of(value: Option<&Value>) -> Self {
        value.map(|value| T::of(Some(value)))
    }
}

impl Field for IdleTimeout {
    fn of(value: Option<&Value>) -> Self {
        match value {
            Some(Value::Word(_)) => Self::Adaptive,
            fixed => Self::Fixed(Span::of(fixed)),
        }
    }
}

/// A ceiling that may be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// So many.
    Most(u64),
    /// As many as there is room for.
    None,
}

impl Field for Ceiling {
    fn of(value: Option<&Value>) -> Self {
        match value {
            Some(Value::Word(_)) => Self::None,
            most => Self::Most(u64::of(most)),
        }
    }
}

/// The name of a network policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkName(pub String);

/// How long idle instances stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleTimeout {
    /// As each function's history suggests, and some are made ahead.
    Adaptive,
    /// This long; nothing is made ahead.
    Fixed(Span),
}

/// How processor time is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    /// A burst up to a whole processor.
    Burst,
    /// Lambda's exact share.
    Lambda,
}

const ADAPTIVE: &str = "adaptive";
const NONE: &str = "none";
const BURST: &str = "burst";
const LAMBDA: &str = "lambda";

macro_rules! keys {
    ($(
        $(#[doc = $about:literal])*
        $section:ident: $group:ident {
            $(
                $(#[doc = $doc:literal])*
                $name:ident: $type:ty = $kind:expr, $preset:expr, $when:ident;
            )*
        }
    )*) => {
        /// What is configured, as values for those who use them.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $($(#[doc = $about])* pub $section: $group,)*
        }

        $(
            $(#[doc = $about])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $group {
                $($(#[doc = $doc])* pub $name: $type,)*
            }
        )*

        /// Every key, by section.
        pub static KEYS: &[Key] = &[
            $($(Key {
                section: stringify!($section),
                name: stringify!($name),
                about: concat!($($doc),*),
                kind: $kind,
                preset: || $preset,
                when: When::$when,
            },)*)*
        ];

        impl Config {
            /// `value` says what each key has; nothing where the machine makes it.
            pub(super) fn of<'a>(value: impl Fn(&str, &str) -> Option<&'a Value>) -> Self {
                Self {
                    $($section: $group {
                        $($name: Field::of(value(stringify!($section), stringify!($name))),)*
                    },)*
                }
            }
        }
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Where no other bound is nearer: of sizes, of numbers that fit 32 bits.
const ANY_SIZE: Bounds = within(0, 1024 * TIB);
const ANY_COUNT: Bounds = within(0, 1_000_000_000);

/// Least memory and least `/tmp` of a function: no ceiling goes below its floor.
const MEMORY_MIN_MIB: u64 = freehold_domain::limits::MEMORY_MIN_MIB as u64;
const TMP_MIN_MIB: u64 = freehold_domain::limits::TMP_MIN_MIB as u64;

/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// A uid that neither distributions nor systemd hand out: above what the spawners give to guests
/// (up to 0x7fe0_0000), below systemd's foreign range (from 0x7ffe_0000).
pub(crate) const SERVER_UID: u32 = 2_146_000_000;

keys! {
    /// Addresses and names.
    server: Server {
        /// Address of every API
        listen: SocketAddr = Kind::Address, address(7070), Start;
        /// Address of metrics and health
        admin_listen: SocketAddr = Kind::Address, address(7071), Start;
        /// The account of the first start; later starts find it
        account: Option<TenantId> = Kind::Account, Preset::Made("made up at the first start"), Start;
        /// The region that requests are signed for unless they say another
        region: Region = Kind::Region, region("us-east-1"), Start;
        /// Further regions that requests may be signed for
        regions: Vec<Region> = Kind::Regions(64), Preset::Is(Value::Regions(Vec::new())), Start;
        /// The domain of function URLs, `ID.lambda-url.REGION.DOMAIN:PORT`
        url_domain: String = Kind::Domain, Preset::Is(Value::Domain("localhost".to_owned())), Start;
        /// Names and addresses of the server beside those that it listens on and those of its certificate
        hosts: Vec<String> = Kind::Hosts(64), Preset::Is(Value::Hosts(Vec::new())), Reload;
        /// Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, on connections from then on
        proxies: Vec<Peers> = Kind::Networks(64), Preset::Is(Value::Networks(Vec::new())), Reload;
        /// Serving threads and spawners
        cores: Option<u16> = Kind::Count(within(1, 64)), Preset::Made("the machine's, 64 at most"), Start;
        /// Off loopback, serve in clear instead of TLS
        insecure: bool = Kind::Flag, Preset::Is(Value::Flag(false)), Start;
        /// What the server drops to when root starts it
        uid: u32 = Kind::Count(within(1, u32::MAX as u64 - 1)), count(SERVER_UID as u64), Start;
        /// Where all instances have one user id, as without root, tenants may be made beside the first
        shared_uid_tenants: bool = Kind::Flag, Preset::Is(Value::Flag(false)), Start;
        /// At SIGTERM: longest wait for running calls
        drain_timeout: Span = Kind::Span(within(0, DAY)), span(QueuePolicy::default().drain_grace), Reload;
    }

    /// Encryption.
    tls: Tls {
        /// The certificate and those that vouch for it, PEM, the server's own first
        certificate: Option<PathBuf> = Kind::File, Preset::Made("one of its own making where TLS is spoken"), Reload;
        /// Its key, PEM
        key: Option<PathBuf> = Kind::File, Preset::Made("that certificate's"), Reload;
        /// Speak TLS on loopback too, with a certificate of its own making
        self_signed: bool = Kind::Flag, Preset::Is(Value::Flag(false)), Start;
        /// Names for which a certificate is ordered by ACME, and renewed
        acme_names: Vec<String> = Kind::Hosts(64), Preset::Is(Value::Hosts(Vec::new())), Start;
        /// Whom it is ordered from: the URL of the authority's ACME directory
        acme_directory: String = Kind::Url, Preset::Is(Value::Url(LETS_ENCRYPT.to_owned())), Start;
        /// Whether that authority's terms of service are agreed to; an order needs it
        acme_accept_terms: bool = Kind::Flag, Preset::Is(Value::Flag(false)), Start;
        /// Where the authority may write to about the account
        acme_contact: Option<String> = Kind::Mail, Preset::Made("none"), Start;
        /// Who vouches for the authority's own server, PEM
        acme_roots: Option<PathBuf> = Kind::File, Preset::Made("whom the system trusts"), Start;
    }

    /// Interpreters.
    runtimes: Runtimes {
        /// The nearest version serves a name that has no interpreter
        substitute: bool = Kind::Flag, Preset::Is(Value::Flag(false)), Start;
        /// Interpreters that are not where they are looked for
        paths: BTreeMap<String, PathBuf> = Kind::Paths, Preset::Is(Value::Paths(BTreeMap::new())), Start;
    }

    /// Instances.
    instances: Instances {
        /// How long idle instances stay: by each function's history, or this long
        idle_timeout: IdleTimeout = Kind::SpanOr(ADAPTIVE, within(10, 30 * DAY)), word(ADAPTIVE), Reload;
        /// How long they go on running before they are frozen, or left awake
        freeze_after: Span = Kind::Span(within(1, HOUR)), span(EngineConfig::default().freeze_after), Reload;
        /// Instances that every function has ready while memory is at hand
        ready: u32 = Kind::Count(within(0, 100)), count(EngineConfig::default().ready.into()), Reload;
        /// Up to max(1, memory / 1769 MiB) processors, or that exact share; of instances made from then on
        cpu: Cpu = Kind::Word(&[BURST, LAMBDA]), word(BURST), Reload;
        /// Instances at once, parked sandboxes among them; fewer where descriptors end first
        max: u32 = Kind::Count(within(1, 1_000_000)), count(launch().instances_max.into()), Start;
        /// Sandboxes made ahead, all runtimes together; as many `/tmp` of the usual size, 64 at the most
        parked: usize = Kind::Count(within(0, 65_536)), count(launch().park_target as u64), Start;
        /// Memory of all instances together
        memory: Option<Size> = Kind::Size(within(128 * MIB, ANY_SIZE.most)), Preset::Made("seven eighths of the machine's"), Start;
        /// Code that Node.js functions have compiled in their inits, kept for their next starts; of one account's at most half; 0 keeps none
        compiled_code: Size = Kind::Size(within(0, ANY_SIZE.most)), bytes(EngineConfig::default().compiled_code_bytes), Reload;
        /// Waits between attempts at an asynchronous event; the last one repeats
        retry_delays: Vec<Span> = Kind::Spans(within(0, DAY), 16), retry_delays(), Reload;
    }

    /// Whom functions may reach.
    network: Network {
        /// Whether functions have a network at all; without it nothing of the machine's is changed
        enabled: bool = Kind::Flag, Preset::Is(Value::Flag(true)), Start;
        /// The policy of functions that name none
        default: NetworkName = Kind::Network, Preset::Is(Value::Network(network::INTERNET.to_owned())), Start;
        /// Named policies, `[network.policies.NAME]` with `allow`, a list of whom functions may reach, and `tenants`, whose functions may have it
        policies: Policies = Kind::Policies, Preset::Is(Value::Policies(Policies::new())), Start;
        /// Connections of one instance at once
        connections: u32 = Kind::Count(within(1, 65_535)), count(1024), Start;
        /// Connections that one instance may begin in a second
        new_connections: u32 = Kind::Count(within(1, 1_000_000)), count(500), Start;
        /// Bytes that one instance may send in a second, and receive
        bandwidth: Size = Kind::Size(within(64 * KIB, 4000 * MIB)), bytes(125 * MIB), Start;
    }

    /// Start images of published versions.
    snapstart: SnapStart {
        /// Memory of the start images of all published versions together
        memory: Option<Size> = Kind::Size(within(MIB, ANY_SIZE.most).by(MIB)), Preset::Made("an eighth of the instances'"), Reload;
        /// Of those of one account
        account_memory: Option<Size> = Kind::Size(within(MIB, ANY_SIZE.most).by(MIB)), Preset::Made("half of all"), Reload;
        /// An image this old is made anew
        max_age: Span = Kind::Span(within(MINUTE, 365 * DAY)), span(EngineConfig::default().snapshots.age_max), Reload;
        /// … and one that so many started from
        max_starts: u64 = Kind::Count(within(1, ANY_COUNT.most)), count(EngineConfig::default().snapshots.starts_max), Reload;
    }

    /// Asynchronous events.
    events: Events {
        /// How long it is known what became of an event that ended well
        keep_done: Span = Kind::Span(within(0, 3650 * DAY)), span(QueuePolicy::default().keep_done), Reload;
        /// … of one that was given up
        keep_dead: Span = Kind::Span(within(0, 3650 * DAY)), span(QueuePolicy::default().keep_dead), Reload;
    }

    /// The audit trail.
    audit: Audit {
        /// How long lines are kept
        keep: Span = Kind::Span(within(HOUR, 36_500 * DAY)), ms(90 * DAY), Reload;
        /// What all of them may take: of who has most the oldest go first
        size: Size = Kind::Size(within(256 * KIB, ANY_SIZE.most)), bytes(GIB), Reload;
        /// Of each of its files, a quarter of `audit.size` at the most
        file_size: Size = Kind::Size(within(64 * KIB, GIB)), bytes(MIB), Start;
    }

    /// Ceilings; the defaults are AWS's.
    limits: Ceilings {
        /// Event and answer of a synchronous call
        sync_payload: Size = Kind::Size(within(100, GIB)), bytes(ceilings().sync_payload_bytes), Reload;
        /// Event of an asynchronous call
        async_payload: Size = Kind::Size(within(100, 256 * MIB)), bytes(ceilings().async_payload_bytes), Reload;
        /// Longest run of a function
        function_timeout: Span = Kind::Span(within(SECOND, 7 * DAY).by(SECOND)), seconds(ceilings().function_timeout_s), Reload;
        /// Most memory of a function
        memory_max: Size = Kind::Size(within(MEMORY_MIN_MIB * MIB, 16 * TIB).by(MIB)), mebibytes(ceilings().memory_max_mib), Reload;
        /// Largest `/tmp` of a function
        tmp_max: Size = Kind::Size(within(TMP_MIN_MIB * MIB, volumes::SIZE_MAX_MIB as u64 * MIB).by(MIB)), mebibytes(ceilings().tmp_max_mib), Reload;
        /// Names and values of a function's environment
        environment: Size = Kind::Size(within(0, MIB)), bytes(ceilings().environment_bytes), Reload;
        /// A package in the request
        package_zip: Size = Kind::Size(within(KIB, 4 * GIB)), bytes(ceilings().package_zip_bytes), Reload;
        /// A package unpacked
        package_unpacked: Size = Kind::Size(within(KIB, TIB)), bytes(ceilings().package_unpacked_bytes), Reload;
        /// Entries of a package
        package_entries: u64 = Kind::Count(within(1, ANY_COUNT.most)), count(ceilings().package_entries), Reload;
        /// All packages of an account
        code_storage: Size = Kind::Size(ANY_SIZE), bytes(ceilings().code_storage_bytes), Reload;
        /// Invocations of an account in flight
        account_concurrency: u32 = Kind::Count(within(1, 1_000_000)), count(ceilings().account_concurrency.into()), Reload;
        /// What must stay unreserved of it
        unreserved_concurrency_min: u32 = Kind::Count(within(0, 1_000_000)), count(ceilings().unreserved_concurrency_min.into()), Reload;
        /// Synchronous invocations of an account that begin in a second
        sync_invocations: Option<Ceiling> = Kind::CountOr(NONE, within(1, 1_000_000)), Preset::Made("ten times account_concurrency"), Reload;
        /// Instances of one function that are started in ten seconds
        function_starts: Ceiling = Kind::CountOr(NONE, within(1, 1_000_000)), count_or_none(ceilings().function_starts_per_10_s), Reload;
        /// Calls of an account that manage, in a second; GetPolicy as many again, GetFunction apart
        management: Ceiling = Kind::CountOr(NONE, within(1, 1_000_000)), count_or_none(ceilings().management_per_s), Reload;
        /// Calls of GetFunction of an account, in a second
        get_function: Ceiling = Kind::CountOr(NONE, within(1, 1_000_000)), count_or_none(ceilings().get_function_per_s), Reload;
        /// Init of a function
        init_timeout: Span = Kind::Span(within(SECOND, HOUR).by(SECOND)), seconds(ceilings().init_timeout_s), Reload;
        /// Processes and threads of an instance that is made from then on
        instance_pids: u32 = Kind::Count(within(16, 4_194_304)), count(ceilings().instance_pids.into()), Reload;
        /// Open descriptors of an instance that is made from then on
        instance_descriptors: u32 = Kind::Count(within(16, 1_048_576)), count(ceilings().instance_descriptors.into()), Reload;
        /// Longest line of a log that is kept whole; of instances that come up from then on
        log_line: Size = Kind::Size(within(KIB, MIB)), bytes(ceilings().log_line_bytes.into()), Reload;
        /// Log bytes of one instance per second; of instances that come up from then on
        log_rate: Size = Kind::Size(within(KIB, 16 * GIB)), bytes(ceilings().log_bytes_per_s), Reload;
        /// Attempts at an asynchronous event that comes in from then on, the first included
        async_attempts: u32 = Kind::Count(within(1, 100)), count(ceilings().async_attempts.into()), Reload;
        /// Age at which an asynchronous event that comes in from then on is given up
        async_event_age: Span = Kind::Span(within(SECOND, 14 * DAY).by(SECOND)), seconds(ceilings().async_event_age_s), Reload;
        /// Body bytes that all requests may hold at once
        bytes_in_flight: Size = Kind::Size(within(MIB, ANY_SIZE.most)), bytes(ceilings().bytes_in_flight), Reload;
        /// Header bytes of one request, on connections from then on
        header: Size = Kind::Size(within(8 * KIB, MIB)), bytes(ceilings().header_bytes.into()), Reload;
    }
}

fn ceilings() -> Limits {
    Limits::default()
}
fn launch() -> LaunchOptions {
    LaunchOptions::new(1, PathBuf::new(), PathBuf::new())
}
fn retry_delays() -> Preset {
    let delays = QueuePolicy::default().retry_delays;
    Preset::Is(Value::Spans(delays.into_iter().map(Span).collect()))
}
fn address(port: u16) -> Preset {
    Preset::Is(Value::Address(SocketAddr::from(([127, 0, 0, 1], port))))
}
fn region(name: &str) -> Preset {
    Preset::Is(Value::Region(name.parse().expect("a name of ours is one")))
}
fn word(word: &'static str) -> Preset {
    Preset::Is(Value::Word(word))
}
fn count(number: u64) -> Preset {
    Preset::Is(Value::Count(number))
}
fn count_or_none(most: Option<u64>) -> Preset {
    most.map_or_else(|| word(NONE), count)
}
fn bytes(bytes: u64) -> Preset {
    Preset::Is(Value::Size(Size(bytes)))
}
fn mebibytes(mebibytes: u32) -> Preset {
    bytes(u64::from(mebibytes) * MIB)
}
fn span(span: Duration) -> Preset {
    Preset::Is(Value::Span(Span(span)))
}
fn ms(ms: u64) -> Preset {
    span(Duration::from_millis(ms))
}
fn seconds(seconds: u32) -> Preset {
    ms(u64::from(seconds) * SECOND)
}
