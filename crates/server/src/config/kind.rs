//! What a key may be: the type, its bounds, and how a value is read and written.
//!
//! A value comes from the file as TOML has it, and from the environment and the command line as
//! text; lists are then separated by commas. What is refused is said in one way for all three:
//! what was found, and what is allowed.

use super::{
    fault::WrongPart,
    measure::{Size, Span},
    paths,
    policies::{self, Policies},
};
use freehold_api::Network;
use freehold_domain::{
    Region, TenantId,
    network::{self, is_policy_name},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// The type of a key.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// True or false.
    Flag,
    /// A whole number.
    Count(Bounds),
    /// A whole number, or this word.
    CountOr(&'static str, Bounds),
    /// Bytes.
    Size(Bounds),
    /// A time; the bounds are ms.
    Span(Bounds),
    /// A time, or this word.
    SpanOr(&'static str, Bounds),
    /// Times in a row, one to so many.
    Spans(Bounds, usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// An address with its port.
    Address,
    /// An account's id.
    Account,
    /// A region's name.
    Region,
    /// Names of regions, up to so many.
    Regions(usize),
    /// A domain's name.
    Domain,
    /// Names and addresses of hosts, up to so many.
    Hosts(usize),
    /// The URL of a server that proves who it is.
    Url,
    /// An address of mail.
    Mail,
    /// Addresses and networks, up to so many.
    Networks(usize),
    /// The path of a file, from the root.
    File,
    /// Names, each with a path.
    Paths,
    /// The name of a network policy.
    Network,
    /// Network policies by name.
    Policies,
}

/// From which number to which, both included, and in which steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
    /// What it has to be a multiple of.
    pub step: u64,
}

/// From `least` to `most`.
pub const fn within(least: u64, most: u64) -> Bounds {
    Bounds {
        least,
        most,
        step: 1,
    }
}

impl Bounds {
    /// In whole multiples of `step` only.
    pub const fn by(self, step: u64) -> Self {
        Self { step, ..self }
    }

    fn holds(self, number: u64) -> bool {
        (self.least..=self.most).contains(&number) && number.is_multiple_of(self.step)
    }
}

/// A value that its kind allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// See [`Kind::Flag`].
    Flag(bool),
    /// See [`Kind::Count`].
    Count(u64),
    /// See [`Kind::Size`].
    Size(Size),
    /// See [`Kind::Span`].
    Span(Span),
    /// See [`Kind::Spans`].
    Spans(Vec<Span>),
    /// See [`Kind::Word`], [`Kind::CountOr`] and [`Kind::SpanOr`].
    Word(&'static str),
    /// See [`Kind::Address`].
    Address(SocketAddr),
    /// See [`Kind::Account`].
    Account(TenantId),
    /// See [`Kind::Region`].
    Region(Region),
    /// See [`Kind::Regions`].
    Regions(Vec<Region>),
    /// See [`Kind::Domain`].
    Domain(String),
    /// See [`Kind::Hosts`].
    Hosts(Vec<String>),
    /// See [`Kind::Url`].
    Url(String),
    /// See [`Kind::Mail`].
    Mail(String),
    /// See [`Kind::Networks`].
    Networks(Vec<Network>),
    /// See [`Kind::File`].
    File(PathBuf),
    /// See [`Kind::Paths`].
    Paths(BTreeMap<String, PathBuf>),
    /// See [`Kind::Network`].
    Network(String),
    /// See [`Kind::Policies`].
    Policies(Policies),
}

/// What stands somewhere for a value, before it is known to be one.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A string of the file, or anything of the environment and the command line.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// True or false.
    Flag(bool),
    /// A list.
    List(Vec<Item>),
    /// A table.
    Table(Vec<Entry>),
    /// Something that no key is.
    Other(&'static str),
}

/// What stands in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its line of the file, from 1.
    pub line: Option<usize>,
    /// What it is.
    pub found: Found,
}

/// What stands in a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The line of its name in the file, from 1.
    pub line: Option<usize>,
    /// Its name.
    pub name: String,
    /// What it is.
    pub found: Found,
}

impl Found {
    /// Texts of the environment or the command line.
    pub fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let item = |text: &str| Item {
            line: None,
            found: Self::Text(text.to_owned()),
        };
        Self::List(texts.map(item).collect())
    }
}

impl Entry {
    /// One of the environment or the command line.
    pub fn of_text(name: &str, found: Found) -> Self {
        Self {
            line: None,
            name: name.to_owned(),
            found,
        }
    }
}

impl Kind {
    /// The value that stands there; nothing where it is not one.
    pub fn read(self, found: &Found) -> Option<Value> {
        match (self, found) {
            (Self::Flag, Found::Flag(flag)) => Some(Value::Flag(*flag)),
            (Self::CountOr(word, _), Found::Text(text)) if text == word => Some(Value::Word(word)),
            (Self::Count(bounds) | Self::CountOr(_, bounds), Found::Whole(number)) => {
                let number = u64::try_from(*number).ok();
                number.filter(|n| bounds.holds(*n)).map(Value::Count)
            }
            (Self::Size(bounds), Found::Whole(number)) => {
                let bytes = u64::try_from(*number).ok();
                let bytes = bytes.filter(|bytes| bounds.holds(*bytes));
                bytes.map(|bytes| Value::Size(Size(bytes)))
            }
            (Self::Size(bounds), Found::Text(text)) => {
                let size = text.parse::<Size>().ok();
                size.filter(|size| bounds.holds(size.0)).map(Value::Size)
            }
            (Self::SpanOr(word, _), Found::Text(text)) if text == word => Some(Value::Word(word)),
            (Self::Span(bounds) | Self::SpanOr(_, bounds), Found::Text(_)) => {
                span(bounds, found).map(Value::Span)
            }
            (Self::Spans(bounds, most), Found::List(list)) => {
                let spans: Option<Vec<Span>> =
                    list.iter().map(|one| span(bounds, &one.found)).collect();
                spans
                    .filter(|spans| (1..=most).contains(&spans.len()))
                    .map(Value::Spans)
            }
            (Self::Word(words), Found::Text(text)) => {
                let word = words.iter().find(|word| *word == text);
                word.map(|word| Value::Word(word))
            }
            (Self::Address, Found::Text(text)) => text.parse().ok().map(Value::Address),
            (Self::Account, Found::Text(text)) => {
                let id = text.parse::<TenantId>().ok();
                // That one is the platform's own.
                id.filter(|id| *id != TenantId::platform())
                    .map(Value::Account)
            }
            (Self::Region, Found::Text(text)) => text.parse().ok().map(Value::Region),
            (Self::Regions(most), Found::List(list)) if list.len() <= most => {
                let region = |one: &Item| match &one.found {
                    Found::Text(text) => text.parse().ok(),
                    _ => None,
                };
                let regions: Option<Vec<Region>> = list.iter().map(region).collect();
                regions.map(Value::Regions)
            }
            (Self::Domain, Found::Text(text)) => {
                is_domain(text).then(|| Value::Domain(text.clone()))
            }
            (Self::Hosts(most), Found::List(list)) if list.len() <= most => {
                let host = |one: &Item| match &one.found {
                    Found::Text(text) if is_host(text) => Some(text.clone()),
                    _ => None,
                };
                let hosts: Option<Vec<String>> = list.iter().map(host).collect();
                hosts.map(Value::Hosts)
            }
            (Self::Url, Found::Text(text)) => is_url(text).then(|| Value::Url(text.clone())),
            (Self::Mail, Found::Text(text)) => is_mail(text).then(|| Value::Mail(text.clone())),
            (Self::Networks(most), Found::List(list)) if list.len() <= most => {
                let network = |one: &Item| match &one.found {
                    Found::Text(text) => text.parse().ok(),
                    _ => None,
                };
                let networks: Option<Vec<Network>> = list.iter().map(network).collect();
                networks.map(Value::Networks)
            }
            (Self::File, Found::Text(text)) => {
                text.starts_with('/').then(|| Value::File(text.into()))
            }
            (Self::Paths, found) => paths::read(found).ok().map(Value::Paths),
            (Self::Network, Found::Text(text)) => {
                let is_one = is_policy_name(text) || is_given(text);
                is_one.then(|| Value::Network(text.clone()))
            }
            (Self::Policies, found) => policies::read(found).ok().map(Value::Policies),
            _ => None,
        }
    }

    /// Which parts of what stands there are wrong, where it has parts that can be named.
    pub fn wrong_parts(self, found: &Found) -> Vec<WrongPart> {
        let wrong = match self {
            Self::Policies => policies::read(found).err(),
            Self::Paths => paths::read(found).err(),
            _ => None,
        };
        wrong.unwrap_or_default()
    }

    /// The same of a text of the environment or the command line.
    pub fn wrong_parts_of_text(self, text: &str) -> Vec<WrongPart> {
        let wrong = match self {
            Self::Policies => policies::read_text(text).err(),
            Self::Paths => paths::read_text(text).err(),
            _ => None,
        };
        wrong.unwrap_or_default()
    }

    /// The value that a text of the environment or the command line stands for.
    pub fn read_text(self, text: &str) -> Option<Value> {
        match self {
            Self::Policies => return policies::read_text(text).ok().map(Value::Policies),
            Self::Paths => return paths::read_text(text).ok().map(Value::Paths),
            _ => {}
        }
        let items = || {
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
        };
        let found = match self {
            Self::Flag => match text {
                "true" => Found::Flag(true),
                "false" => Found::Flag(false),
                _ => return None,
            },
            Self::CountOr(word, _) if text == word => Found::Text(text.to_owned()),
            Self::Count(_) | Self::CountOr(..) => Found::Whole(text.parse().ok()?),
            Self::Spans(..) | Self::Regions(_) | Self::Hosts(_) | Self::Networks(_) => {
                Found::texts(items())
            }
            _ => Found::Text(text.to_owned()),
        };
        self.read(&found)
    }

    /// Its name, one word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Count(_) => "count",
            Self::CountOr(..) => "count or word",
            Self::Size(_) => "size",
            Self::Span(_) => "time",
            Self::SpanOr(..) => "time or word",
            Self::Spans(..) => "times",
            Self::Word(_) => "word",
            Self::Address => "address",
            Self::Account => "account",
            Self::Region => "region",
            Self::Regions(_) => "regions",
            Self::Domain => "domain",
            Self::Hosts(_) => "hosts",
            Self::Url => "url",
            Self::Mail => "mail",
            Self::Networks(_) => "networks",
            Self::File => "file",
            Self::Paths => "paths",
            Self::Network => "policy",
            Self::Policies => "policies",
        }
    }

    /// What the numbers of its bounds count.
    pub fn unit(self) -> Option<&'static str> {
        match self {
            Self::Size(_) => Some("bytes"),
            Self::Span(_) | Self::SpanOr(..) | Self::Spans(..) => Some("ms"),
            _ => None,
        }
    }

    /// The bounds, where it is a number.
    pub fn bounds(self) -> Option<Bounds> {
        match self {
            Self::Count(bounds)
            | Self::CountOr(_, bounds)
            | Self::Size(bounds)
            | Self::Span(bounds)
            | Self::SpanOr(_, bounds)
            | Self::Spans(bounds, _) => Some(bounds),
            _ => None,
        }
    }

    /// The words that it may be.
    pub fn words(self) -> Vec<&'static str> {
        match self {
            Self::Word(words) => words.to_vec(),
            Self::CountOr(word, _) | Self::SpanOr(word, _) => vec![word],
            _ => Vec::new(),
        }
    }

    /// What may stand there, to follow "allowed:".
    pub fn allowed(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Count(Bounds { least, most, .. }) => {
                format!("a whole number from {least} to {most}")
            }
            Self::CountOr(word, Bounds { least, most, .. }) => {
                format!("{word:?}, or a whole number from {least} to {most}")
            }
            Self::Size(bounds) => format!("a size from {}", sizes(bounds)),
            Self::Span(bounds) => format!("a time from {}", spans(bounds)),
            Self::SpanOr(word, bounds) => format!("{word:?}, or a time from {}", spans(bounds)),
            Self::Spans(bounds, most) => {
                format!("a list of 1 to {most} times from {}", spans(bounds))
            }
            Self::Word(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
                quoted.join(" or ")
            }
            Self::Address => "an address with its port, such as \"127.0.0.1:7070\"".to_owned(),
            Self::Account => "12 digits, as text, not all of them 0".to_owned(),
            Self::Region => "the name of a region, such as \"us-east-1\"".to_owned(),
            Self::Regions(most) => {
                format!("a list of up to {most} names of regions, such as \"us-east-1\"")
            }
            Self::Domain => "the name of a domain, such as \"localhost\"".to_owned(),
            Self::Hosts(most) => {
                format!(
                    "a list of up to {most} names or addresses, such as \"api.example.org\" or \"*.example.org\""
                )
            }
            Self::Url => {
                "a URL that begins with https://, such as \"https://acme.example.org/directory\""
                    .to_owned()
            }
            Self::Mail => "an address of mail, such as \"ops@example.org\"".to_owned(),
            Self::Networks(most) => {
                format!(
                    "a list of up to {most} addresses or networks, such as \"10.0.0.5\" or \"10.0.0.0/8\""
                )
            }
            Self::File => {
                "the path of a file from the root, such as \"/etc/freehold/tls.pem\"".to_owned()
            }
            Self::Paths => paths::ALLOWED.to_owned(),
            Self::Network => format!(
                "\"{}\", \"{}\" or the name of a policy",
                network::INTERNET,
                network::NONE
            ),
            Self::Policies => "a table of policies".to_owned(),
        }
    }
}

fn span(bounds: Bounds, found: &Found) -> Option<Span> {
    let Found::Text(text) = found else {
        return None;
    };
    let span = text.parse::<Span>().ok();
    span.filter(|span| bounds.holds(span.as_ms()))
}

/// Whether every node has a policy of this name.
fn is_given(name: &str) -> bool {
    [network::INTERNET, network::NONE].contains(&name)
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// A name of a domain, below which `*.` stands for any one label, or an address.
fn is_host(text: &str) -> bool {
    is_domain(text.strip_prefix("*.").unwrap_or(text)) || text.parse::<IpAddr>().is_ok()
}

/// Characters of a URL.
const URL_MAX: usize = 2000;

/// A URL of a server that proves who it is.
fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else {
        return false;
    };
    let host = uri.authority().map(|one| one.as_str());
    text.len() <= URL_MAX
        && uri.scheme_str() == Some("https")
        && host.is_some_and(|host| !host.contains('@'))
        && !text.contains('#')
}

fn is_mail(text: &str) -> bool {
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    text.split_once('@').is_some_and(|(who, domain)| {
        (1..=64).contains(&who.len()) && who.bytes().all(is_part) && is_domain(domain)
    })
}

fn sizes(Bounds { least, most, step }: Bounds) -> String {
    let (whole, such) = match step {
        1 => (String::new(), "\"64KiB\" or \"6MiB\""),
        _ => (
            format!(", in whole multiples of {}", Size(step)),
            "\"512MiB\" or \"2GiB\"",
        ),
    };
    format!("{} to {}{whole}, such as {such}", Size(least), Size(most))
}

fn spans(Bounds { least, most, step }: Bounds) -> String {
    let whole = match step {
        1 => String::new(),
        _ => format!(", in whole multiples of {}", Span::ms(step)),
    };
    format!(
        "{} to {}{whole}, such as \"90s\" or \"15m\"",
        Span::ms(least),
        Span::ms(most)
    )
}

fn joined<T: fmt::Display>(items: &[T], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if at > 0 { "," } else { "" })?;
    }
    Ok(())
}

/// As the environment and the command line have it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Count(number) => number.fmt(f),
            Self::Size(size) => size.fmt(f),
            Self::Span(span) => span.fmt(f),
            Self::Spans(spans) => joined(spans, f),
            Self::Word(word) => f.write_str(word),
            Self::Address(address) => address.fmt(f),
            Self::Account(id) => id.fmt(f),
            Self::Region(region) => region.fmt(f),
            Self::Regions(regions) => joined(regions, f),
            Self::Domain(domain) => f.write_str(domain),
            Self::Hosts(hosts) => joined(hosts, f),
            Self::Url(text) | Self::Mail(text) => f.write_str(text),
            Self::Networks(networks) => joined(networks, f),
            Self::File(path) => path.display().fmt(f),
            Self::Network(name) => f.write_str(name),
            Self::Policies(policies) => policies::written(policies, f),
            Self::Paths(paths) => {
                let pairs: Vec<_> = paths
                    .iter()
                    .map(|(name, path)| format!("{name}={}", path.display()))
                    .collect();
                joined(&pairs, f)
            }
        }
    }
}

impl Value {
    /// As the file has it, in JSON's words: sizes and times are texts with their unit.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Flag(flag) => json!(flag),
            Self::Count(number) => json!(number),
            Self::Spans(spans) => spans.iter().map(Span::to_string).collect(),
            Self::Regions(regions) => regions.iter().map(Region::to_string).collect(),
            Self::Hosts(hosts) => json!(hosts),
            Self::Networks(networks) => networks.iter().map(Network::to_string).collect(),
            Self::Paths(paths) => json!(paths),
            Self::Policies(policies) => policies::json(policies),
            one => json!(one.to_string()),
        }
    }
}

/// What stands there, for a message.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Characters of a text that are told.
        const TOLD: usize = 80;
        match self {
            Self::Text(text) if text.chars().count() > TOLD => {
                let told: String = text.chars().take(TOLD).collect();
                write!(f, "{told:?} …")
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Whole(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::List(list) if list.len() <= 4 => {
                f.write_str("[")?;
                for (at, one) in list.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { ", " } else { "" }, one.found)?;
                }
                f.write_str("]")
            }
            Self::List(list) => write!(f, "a list of {}", list.len()),
            Self::Table(_) => f.write_str("a table"),
            Self::Other(what) => f.write_str(what),
        }
    }
}
