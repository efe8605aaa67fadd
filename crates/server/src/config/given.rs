//! Puts together what was given, in order: default, file, environment, flags.
//!
//! All of it is judged, also what something else goes over, and all faults are told at once: a
//! misspelt limit that silently does not hold is worse than a server that does not start.

use super::{
    fault::{
        ConfigError, FAULTS_TOLD, Fault, Origin, Wrong, WrongPart, nearest_key, nearest_section,
        nearest_variable,
    },
    keys::{Config, KEYS, Key, Preset},
    kind::{Entry, Found, Item, Value},
    rules,
};
use rustix::fs::OFlags;
use std::{
    borrow::Cow,
    collections::BTreeSet,
    ffi::OsString,
    fs::File,
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The file's name in the data folder.
pub const FILE: &str = "freehold.toml";
/// Bytes of a file that are read.
pub const FILE_BYTES_MAX: u64 = 256 << 10;
/// Characters of an unknown name that are told.
const NAME_TOLD: usize = 100;
/// What our variables begin with.
const PREFIX: &str = "FREEHOLD_";

/// Variables of this project that are no keys: the server's log, and what scripts, tests, benches
/// and guests are told. A name that ends in `_` stands for all that begin so.
const OTHERS: &[&str] = &[
    "FREEHOLD_LOG",
    "FREEHOLD_LOG_FORMAT",
    "FREEHOLD_BENCH",
    "FREEHOLD_BENCH_",
    "FREEHOLD_BIN",
    "FREEHOLD_BLESS",
    "FREEHOLD_CACHE",
    "FREEHOLD_COUNTS_FILE",
    "FREEHOLD_DATA",
    "FREEHOLD_FRAMES",
    "FREEHOLD_LEAVE_OUT",
    "FREEHOLD_NODE_MODULES",
    "FREEHOLD_PRELOAD",
    "FREEHOLD_REHEARSAL",
    "FREEHOLD_REHEARSAL_",
    "FREEHOLD_SEED",
    "FREEHOLD_TEST_",
    "FREEHOLD_UPDATES",
    "FREEHOLD_WRAPPED",
];

/// Everything that may say a value, as it was given.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The file, and whether it has to be there.
    file: PathBuf,
    is_named: bool,
    /// Whether a server that runs asks: nothing may hold it up.
    is_again: bool,
    /// Variables that begin as ours do.
    environment: Vec<(String, String)>,
    /// Flag as it is written, key, text.
    flags: Vec<(String, String, String)>,
    /// What cannot be taken apart is told with the rest.
    faults: Vec<Fault>,
}

/// One key's value.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Which.
    pub key: &'static Key,
    /// Nothing where the machine or the first start makes it.
    pub value: Option<Value>,
    /// Who said so.
    pub origin: Origin,
}

/// What holds.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Every key, in the table's order.
    pub settings: Vec<Setting>,
    /// The same for those who use it.
    pub config: Config,
    /// Whether there is a file.
    pub has_file: bool,
    /// Variables that begin as ours do and are nothing that is known.
    pub strangers: Vec<String>,
}

impl Given {
    /// The file `named`, or `freehold.toml` in `data` where there is one.
    pub fn new(named: Option<&Path>, data: &Path) -> Self {
        let file = named.map_or_else(|| data.join(FILE), Path::to_owned);
        Self {
            // Whoever reads it again may stand elsewhere by then.
            file: std::path::absolute(&file).unwrap_or(file),
            is_named: named.is_some(),
            ..Self::default()
        }
    }

    /// Over it, the process's environment.
    pub fn with_environment(mut self) -> Self {
        let mut variables = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => variables.push((name, value)),
                Err(_) if KEYS.iter().any(|key| key.variable() == name) => {
                    self.faults.push(Fault {
                        at: Origin::Variable(name),
                        what: Wrong::Syntax("its value is not UTF-8".to_owned()),
                    });
                }
                Err(_) => variables.push((name, String::new())),
            }
        }
        self.with_variables(variables.into_iter())
    }

    /// Over it, these variables.
    pub fn with_variables(mut self, all: impl Iterator<Item = (String, String)>) -> Self {
        self.environment = all.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        self.environment.sort();
        self
    }

    /// Over all, a flag of its own for `key`.
    pub fn with_flag(mut self, flag: &str, key: &str, text: Option<impl ToString>) -> Self {
        if let Some(text) = text {
            let flag = (flag.to_owned(), key.to_owned(), text.to_string());
            self.flags.push(flag);
        }
        self
    }

    /// Over all, `--set section.key=value`.
    pub fn with_sets(mut self, sets: &[String]) -> Self {
        for set in sets {
            match set.split_once('=') {
                Some((key, text)) => {
                    let (key, text) = (key.trim().to_owned(), text.trim().to_owned());
                    self.flags.push((format!("--set {key}"), key, text));
                }
                None => self.faults.push(Fault {
                    at: Origin::Flag(format!("--set {set}")),
                    what: Wrong::Syntax("it is written section.key=value".to_owned()),
                }),
            }
        }
        self
    }

    /// The same for a server that runs, which had a file or had none. One that has gone since is a
    /// mistake, and not the wish for every default; one that is no plain file could be waited for
    /// without end.
    pub fn again(&self, had_file: bool) -> Self {
        Self {
            is_named: self.is_named || had_file,
            is_again: true,
            ..self.clone()
        }
    }

    /// Where the file is, whether or not it exists.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file and judges everything.
    ///
    /// Errors: [`ConfigError`], all faults of keys; what does not go together once there are none.
    pub fn resolve(&self) -> Result<Resolved, ConfigError> {
        let mut taken = Taken {
            faults: self.faults.clone(),
            ..Taken::new()
        };
        let text = self.read()?;
        if let Some(text) = &text {
            taken.file(&Arc::new(self.file.clone()), text);
        }
        taken.environment(&self.environment);
        taken.flags(&self.flags);
        taken.resolved(text.is_some())
    }

    /// The arguments that give another command of this binary the same file and flags; it has the
    /// environment anyway.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        if self.is_named {
            arguments.extend(["--config".into(), self.file.clone().into_os_string()]);
        }
        for (_, key, text) in &self.flags {
            arguments.extend(["--set".into(), format!("{key}={text}").into()]);
        }
        arguments
    }

    fn read(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        let path = self.file.clone();
        // A pipe of a shell's is fine where somebody names it, once.
        let is_plain = self.is_again || !self.is_named;
        let file = match open(&path, is_plain) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound && !self.is_named => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ConfigError::Missing(path));
            }
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let mut text = Vec::new();
        match file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text) {
            Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(ConfigError::TooLarge {
                path,
                limit_bytes: FILE_BYTES_MAX,
            }),
            Ok(_) => Ok(Some(text)),
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }
}

/// Opens a file; nobody waits for a writer of one that has to be plain.
fn open(path: &Path, is_plain: bool) -> io::Result<File> {
    if !is_plain {
        return File::open(path);
    }
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    match kind.is_file() || kind.is_dir() {
        // What a folder is told as comes of reading it.
        true => Ok(file),
        false => Err(io::Error::other("it is not a plain file")),
    }
}

/// What has been taken so far.
struct Taken {
    settings: Vec<Setting>,
    faults: Vec<Fault>,
    strangers: Vec<String>,
    /// Keys, `section.key`, that something was given for and could not be taken.
    lacking: BTreeSet<String>,
}

impl Taken {
    fn new() -> Self {
        let setting = |key: &'static Key| Setting {
            key,
            value: match key.preset() {
                Preset::Is(value) => Some(value),
                Preset::Made(_) => None,
            },
            origin: Origin::Default,
        };
        Self {
            settings: KEYS.iter().map(setting).collect(),
            faults: Vec::new(),
            strangers: Vec::new(),
            lacking: BTreeSet::new(),
        }
    }

    fn fault(&mut self, at: Origin, what: Wrong) {
        self.faults.push(Fault { at, what });
    }

    /// The place of a key, or a fault that names the nearest one.
    fn place(&mut self, at: &Origin, section: &str, name: &str) -> Option<usize> {
        let is_it = |setting: &Setting| setting.key.section == section && setting.key.name == name;
        let place = self.settings.iter().position(is_it);
        if place.is_none() {
            let told: String = name.chars().take(NAME_TOLD).collect();
            // Looking for it takes time, and nobody reads what is not told.
            let is_meant = told.len() == name.len() && self.faults.len() < FAULTS_TOLD;
            let nearest = || nearest_key(section, name).map(Key::dotted);
            let nearest = is_meant.then(nearest).flatten();
            self.lacking.extend(nearest.clone());
            let what = Wrong::Unknown {
                name: match section {
                    "" => told,
                    _ => format!("{section}.{told}"),
                },
                is_no: "key",
                nearest,
            };
            self.fault(at.clone(), what);
        }
        place
    }

    /// Puts a value over what was there, or says why not: of its parts where they stand.
    fn put(
        &mut self,
        place: usize,
        at: Origin,
        value: Option<Value>,
        (found, parts): (&Found, Vec<WrongPart>),
    ) {
        let key = self.settings[place].key;
        match value {
            Some(value) => {
                let setting = &mut self.settings[place];
                (setting.value, setting.origin) = (Some(value), at);
            }
            None => {
                self.lacking.insert(key.dotted());
                if parts.is_empty() {
                    let what = Wrong::NotAllowed {
                        key: key.dotted(),
                        found: found.to_string(),
                        allowed: key.kind.allowed(),
                    };
                    return self.fault(at, what);
                }
                for part in parts {
                    let at = match (&at, part.line) {
                        (Origin::File(path, _), Some(line)) => Origin::File(path.clone(), line),
                        _ => at.clone(),
                    };
                    self.fault(at, part.of(&key.dotted()));
                }
            }
        }
    }

    fn file(&mut self, path: &Arc<PathBuf>, bytes: &[u8]) {
        let at = |line| Origin::File(path.clone(), line);
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let ends: Vec<usize> = ends.map(|(at, _)| at).collect();
        let line_of = |offset: usize| 1 + ends.partition_point(|end| *end < offset);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let what = Wrong::Syntax("the file is not UTF-8".to_owned());
                return self.fault(at(line_of(error.valid_up_to())), what);
            }
        };
        let before = self.faults.len();
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut broken = BTreeSet::new();
        for error in errors {
            let line = error.span().map_or(1, |span| line_of(span.start));
            // What follows from the first on a line says nothing more.
            if broken.insert(line) {
                self.fault(at(line), Wrong::Syntax(error.message().to_owned()));
            }
        }
        let line = |name: &Spanned<Cow<'_, str>>| line_of(name.span().start);
        for (section, entries) in as_written(table.get_ref()) {
            let name: &str = section.get_ref();
            let at_it = at(line(section));
            let is_section = KEYS.iter().any(|key| key.section == name);
            match entries.get_ref() {
                DeValue::Table(entries) if is_section => {
                    for (key, value) in as_written(entries) {
                        let at = at(line(key));
                        if let Some(place) = self.place(&at, name, key.get_ref()) {
                            let found = found(value.get_ref(), &line_of);
                            let kind = self.settings[place].key.kind;
                            let parts = kind.wrong_parts(&found);
                            self.put(place, at, kind.read(&found), (&found, parts));
                        }
                    }
                }
                DeValue::Table(_) => {
                    let what = Wrong::Unknown {
                        name: format!("[{name}]"),
                        is_no: "section",
                        nearest: nearest_section(name).map(|section| format!("[{section}]")),
                    };
                    self.fault(at_it, what);
                }
                other if is_section => {
                    let what = Wrong::NotAllowed {
                        key: name.to_owned(),
                        found: found(other, &line_of).to_string(),
                        allowed: format!("the table [{name}]"),
                    };
                    self.fault(at_it, what);
                }
                _ => {
                    self.place(&at_it, "", name);
                }
            }
        }
        let doubt = Doubt::of(text, &broken);
        let mut told = self.faults.split_off(before);
        told.retain(|fault| doubt.lets(fault));
        told.sort_by_key(|fault| fault.at.line());
        self.faults.extend(told);
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        for (name, text) in variables {
            let at = Origin::Variable(name.clone());
            let is_it = |setting: &Setting| setting.key.variable() == *name;
            if is_another(name) {
                continue;
            }
            if let Some(place) = self.settings.iter().position(is_it) {
                self.text(place, at, text);
            } else if looks_like_a_key(name) && !is_a_service_link(name, text) {
                let nearest = nearest_variable(name).map(|(nearest, _)| nearest);
                let is_it = |key: &&Key| nearest.as_ref().is_some_and(|one| key.variable() == *one);
                self.lacking
                    .extend(KEYS.iter().find(is_it).map(Key::dotted));
                let what = Wrong::Unknown {
                    name: name.clone(),
                    is_no: "variable of a key",
                    nearest,
                };
                self.fault(at, what);
            } else {
                self.strangers.push(name.clone());
            }
        }
    }

    fn flags(&mut self, flags: &[(String, String, String)]) {
        for (flag, key, text) in flags {
            let at = Origin::Flag(flag.clone());
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            let Some(place) = self.place(&at, section, name) else {
                continue;
            };
            match &self.settings[place].origin {
                first @ Origin::Flag(_) => {
                    let (key, first) = (key.clone(), first.clone());
                    self.fault(at, Wrong::Twice { key, first });
                }
                _ => self.text(place, at, text),
            }
        }
    }

    fn text(&mut self, place: usize, at: Origin, text: &str) {
        let kind = self.settings[place].key.kind;
        let (found, parts) = (Found::Text(text.to_owned()), kind.wrong_parts_of_text(text));
        self.put(place, at, kind.read_text(text), (&found, parts));
    }

    fn resolved(mut self, has_file: bool) -> Result<Resolved, ConfigError> {
        let is_syntax = |fault: &Fault| matches!(fault.what, Wrong::Syntax(_));
        if self.faults.iter().any(is_syntax) {
            // What does not read may have been any key.
            return Err(ConfigError::Invalid(self.faults));
        }
        self.strangers.sort();
        let lacks = |key: &str| self.lacking.contains(key);
        match Resolved::judged(self.settings, has_file, self.strangers, lacks) {
            Ok(resolved) if self.faults.is_empty() => Ok(resolved),
            Ok(_) => Err(ConfigError::Invalid(self.faults)),
            Err(together) => {
                self.faults.extend(together);
                Err(ConfigError::Invalid(self.faults))
            }
        }
    }
}

impl Resolved {
    /// Of every key's value; they have to go together.
    pub(super) fn of(
        settings: Vec<Setting>,
        has_file: bool,
        strangers: Vec<String>,
    ) -> Result<Self, ConfigError> {
        Self::judged(settings, has_file, strangers, |_| false).map_err(ConfigError::Invalid)
    }

    /// The same; nothing is told of how a key that `lacks` its value goes with others.
    fn judged(
        settings: Vec<Setting>,
        has_file: bool,
        strangers: Vec<String>,
        lacks: impl Fn(&str) -> bool,
    ) -> Result<Self, Vec<Fault>> {
        let config = Config::of(|section, name| {
            let is_it = |one: &&Setting| one.key.section == section && one.key.name == name;
            settings.iter().find(is_it)?.value.as_ref()
        });
        let resolved = Self {
            settings,
            config,
            has_file,
            strangers,
        };
        match rules::judge(&resolved.config, |key| resolved.origin(key), lacks) {
            faults if faults.is_empty() => Ok(resolved),
            faults => Err(faults),
        }
    }

    /// Who said what a key is.
    pub fn origin(&self, key: &str) -> Origin {
        let found = self.settings.iter().find(|one| one.key.dotted() == key);
        found.map_or(Origin::Default, |one| one.origin.clone())
    }
}

/// A table's entries in the order in which they stand there.
fn as_written<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn found(value: &DeValue<'_>, line_of: &impl Fn(usize) -> usize) -> Found {
    match value {
        DeValue::String(text) => Found::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Found::Whole(number),
            Err(_) => Found::Other("a number beyond 64 bits"),
        },
        DeValue::Boolean(flag) => Found::Flag(*flag),
        DeValue::Float(_) => Found::Other("a number with a fraction"),
        DeValue::Datetime(_) => Found::Other("a date or a time of day"),
        DeValue::Array(list) => {
            let item = |one: &Spanned<DeValue<'_>>| Item {
                line: Some(line_of(one.span().start)),
                found: found(one.get_ref(), line_of),
            };
            Found::List(list.iter().map(item).collect())
        }
        DeValue::Table(table) => {
            let entry = |(name, one): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| Entry {
                line: Some(line_of(name.span().start)),
                name: name.get_ref().to_string(),
                found: found(one.get_ref(), line_of),
            };
            Found::Table(as_written(table).into_iter().map(entry).collect())
        }
    }
}

/// Where a file's text cannot be trusted: a line that does not read may have been anything.
struct Doubt {
    /// Lines of which nothing is told but how they do not read: such a line, and where it is the
    /// header of a table, all up to the next one.
    lines: BTreeSet<usize>,
    /// Headers of tables with such a line, which may lack what stands there.
    headers: BTreeSet<usize>,
}

impl Doubt {
    fn of(text: &str, broken: &BTreeSet<usize>) -> Self {
        let mut doubt = Self {
            lines: broken.clone(),
            headers: BTreeSet::new(),
        };
        if broken.is_empty() {
            return doubt;
        }
        let (mut header, mut is_lost) = (None, false);
        for (line, text) in (1..).zip(text.split('\n')) {
            let is_broken = broken.contains(&line);
            if text.trim_start().starts_with('[') {
                (header, is_lost) = (Some(line), is_broken);
            }
            if is_lost {
                doubt.lines.insert(line);
            }
            if is_broken {
                doubt.headers.extend(header);
            }
        }
        doubt
    }

    fn lets(&self, fault: &Fault) -> bool {
        let is_in =
            |lines: &BTreeSet<usize>| fault.at.line().is_some_and(|one| lines.contains(&one));
        match fault.what {
            Wrong::Syntax(_) => true,
            Wrong::NotAllowed { .. } => !is_in(&self.lines) && !is_in(&self.headers),
            _ => !is_in(&self.lines),
        }
    }
}

fn is_another(name: &str) -> bool {
    OTHERS.iter().any(|other| match other.ends_with('_') {
        true => name.starts_with(other),
        false => name == *other,
    })
}

/// Whether somebody who wrote it meant a key: a section of ours, or a few letters from one.
fn looks_like_a_key(name: &str) -> bool {
    /// Letters that may be wrong, one of them the section's.
    const LETTERS: usize = 3;
    let rest = &name[PREFIX.len()..];
    let begins = |key: &Key| {
        let section = format!("{}_", key.section.to_uppercase());
        rest.starts_with(&section)
    };
    KEYS.iter().any(begins) || nearest_variable(name).is_some_and(|(_, apart)| apart <= LETTERS)
}

/// What Kubernetes and Docker set for every service, of one that is called `freehold-server`, say:
/// nobody wrote it, and the server has to start beside it.
fn is_a_service_link(name: &str, text: &str) -> bool {
    let is_url = || {
        ["tcp://", "udp://", "sctp://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
    };
    let of_port = || {
        let (_, port) = name.rsplit_once("_PORT_")?;
        let (number, _) = port.split_once('_')?;
        number.parse::<u16>().ok()
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || of_port().is_some()
        || (name.ends_with("_PORT") && is_url())
}
