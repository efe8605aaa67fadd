//! `freehold.toml`: read once, here, and handed down as values.
//!
//! Unknown keys are refused. Flags go over the file. Sizes and times carry their unit in the value:
//! `"64MiB"`, `"2h"`.

use figment::{
    Figment,
    providers::{Format, Toml},
};
use freehold_domain::limits::Limits;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses and names.
    pub server: ServerConfig,
    /// Ceilings.
    pub limits: LimitsConfig,
    /// Interpreters.
    pub runtimes: RuntimesConfig,
    /// Instances.
    pub instances: InstancesConfig,
    /// Start images of published versions.
    pub snapstart: SnapStartConfig,
    /// Asynchronous events.
    pub events: EventsConfig,
    /// The audit trail.
    pub audit: AuditConfig,
}

/// `[server]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address of all APIs.
    pub listen: Option<String>,
    /// Address of metrics and health.
    pub admin_listen: Option<String>,
    /// The account of the first start.
    pub account: Option<String>,
    /// The region; the first of several is the default.
    pub region: Option<String>,
    /// Further regions.
    pub regions: Vec<String>,
    /// The domain of function URLs.
    pub url_domain: Option<String>,
    /// Serving cores; all of the machine unless given.
    pub cores: Option<u16>,
    /// Serve off loopback in clear.
    pub insecure: bool,
    /// The user id that the server drops to when it is started as root.
    pub uid: Option<u32>,
    /// Longest wait for running calls at shutdown.
    pub drain_timeout: Option<Span>,
}

/// `[runtimes]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimesConfig {
    /// Let the nearest version serve a name that has no interpreter.
    pub substitute: bool,
    /// Name to interpreter.
    pub paths: BTreeMap<String, PathBuf>,
}

/// `[instances]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstancesConfig {
    /// How long an idle instance stays: by each function's history unless a time is given.
    pub idle_timeout: Option<IdleTimeout>,
    /// How long an idle instance goes on running before it is frozen.
    pub freeze_after: Option<Span>,
    /// Instances that every function has ready while memory is at hand.
    pub ready: Option<u32>,
    /// `burst` or `lambda`.
    pub cpu: Option<Cpu>,
    /// Instances at once.
    pub max: Option<u32>,
    /// Sandboxes parked ahead.
    pub parked: Option<usize>,
    /// Memory of all instances together.
    pub memory: Option<Size>,
    /// Waits between the attempts at an asynchronous event; AWS's are one and two minutes.
    pub retry_delays: Option<Vec<Span>>,
}

/// `[snapstart]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapStartConfig {
    /// Memory of all start images of published versions together.
    pub memory: Option<Size>,
    /// Of those of one account.
    pub account_memory: Option<Size>,
    /// Age at which an image is made anew.
    pub max_age: Option<Span>,
    /// Starts after which it is.
    pub max_starts: Option<u64>,
}

/// `[events]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// How long it is known what became of an event that ended well; a day unless given.
    pub keep_done: Option<Span>,
    /// How long it is known of one that was given up; two weeks unless given.
    pub keep_dead: Option<Span>,
}

/// `[audit]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// How long lines are kept; 90 days unless given.
    pub keep: Option<Span>,
    /// What all of them may take; a GiB unless given.
    pub size: Option<Size>,
    /// Size at which a file of lines is followed by the next.
    pub file_size: Option<Size>,
}

impl AuditConfig {
    /// How long lines are kept.
    pub fn kept(&self) -> Duration {
        self.keep
            .map_or(Duration::from_secs(90 * 86_400), |span| span.0)
    }
    /// What all lines may take, bytes.
    pub fn bytes(&self) -> u64 {
        self.size.map_or(1 << 30, |size| size.0)
    }
    /// The size of a file, bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file_size.map_or(16 << 20, |size| size.0)
    }

    /// Whole files go: of few large ones too much would go at once, and more would stay than may.
    fn within_the_platform(&self) -> Result<(), String> {
        let (file, all) = (self.file_bytes(), self.bytes());
        if !(AUDIT_FILE_MIN..=AUDIT_FILE_MAX).contains(&file) {
            return Err(format!(
                "audit.file_size is {file} bytes; a file of the audit trail has between {AUDIT_FILE_MIN} and {AUDIT_FILE_MAX}"
            ));
        }
        if all < 4 * file {
            return Err(format!(
                "audit.size is {all} bytes; it has to be four times audit.file_size, {file}, at the least"
            ));
        }
        if self.kept() < AUDIT_KEEP_MIN {
            return Err("audit.keep is less than an hour".to_owned());
        }
        Ok(())
    }
}

/// Least and most bytes of a file of the audit trail.
const AUDIT_FILE_MIN: u64 = 64 << 10;
const AUDIT_FILE_MAX: u64 = 1 << 30;
/// Who keeps less keeps nothing.
const AUDIT_KEEP_MIN: Duration = Duration::from_secs(3600);

/// How long idle instances stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleTimeout {
    /// As each function's history suggests, and some are made ahead.
    Adaptive,
    /// This long; nothing is made ahead.
    Fixed(Span),
}

impl<'de> Deserialize<'de> for IdleTimeout {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "adaptive" {
            return Ok(Self::Adaptive);
        }
        let or_adaptive = |wrong| D::Error::custom(format!("{wrong}, or \"adaptive\""));
        text.parse().map(Self::Fixed).map_err(or_adaptive)
    }
}

/// How processor time is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cpu {
    /// A burst up to a whole processor.
    Burst,
    /// Lambda's exact share.
    Lambda,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $key:ident : $kind:ty => $($field:ident)|+ ($set:expr);)*) => {
        /// `[limits]`: what is left out keeps AWS's number.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct LimitsConfig {
            $($(#[$doc])* pub $key: Option<$kind>,)*
        }
        impl LimitsConfig {
            /// The defaults with what was given over them.
            pub fn over_defaults(&self) -> Limits {
                let mut limits = Limits::default();
                $(if let Some(value) = &self.$key {
                    $(limits.$field = measured(value, $set);)+
                })*
                limits
            }
        }
    };
}

limits! {
    /// Event and answer of a synchronous call.
    sync_payload: Size => sync_payload_bytes (|size| size.0);
    /// Event of an asynchronous call.
    async_payload: Size => async_payload_bytes (|size| size.0);
    /// Longest run.
    function_timeout: Span => function_timeout_s (seconds);
    /// Most memory.
    memory_max: Size => memory_max_mib (mebibytes);
    /// Largest `/tmp`.
    tmp_max: Size => tmp_max_mib (mebibytes);
    /// Names and values of an environment.
    environment: Size => environment_bytes (|size| size.0);
    /// A package in the request.
    package_zip: Size => package_zip_bytes (|size| size.0);
    /// A package unpacked.
    package_unpacked: Size => package_unpacked_bytes (|size| size.0);
    /// Entries of a package.
    package_entries: u64 => package_entries (|n| *n);
    /// All packages of a tenant.
    code_storage: Size => code_storage_bytes (|size| size.0);
    /// Invocations of a tenant in flight.
    account_concurrency: u32 => account_concurrency (|n| *n);
    /// What must stay unreserved of it.
    unreserved_concurrency_min: u32 => unreserved_concurrency_min (|n| *n);
    /// Init of a function.
    init_timeout: Span => init_timeout_s (seconds);
    /// Processes and threads of an instance.
    instance_pids: u32 => instance_pids (|n| *n);
    /// Open descriptors of an instance.
    instance_descriptors: u32 => instance_descriptors (|n| *n);
    /// Longest line of a log that is kept whole.
    log_line: Size => log_line_bytes (small);
    /// Log bytes of one instance per second.
    log_rate: Size => log_bytes_per_s (|size| size.0);
    /// Attempts at an asynchronous event.
    async_attempts: u32 => async_attempts (|n| *n);
    /// Age at which an asynchronous event is given up.
    async_event_age: Span => async_event_age_s (seconds);
    /// Body bytes that all requests may hold at once.
    bytes_in_flight: Size => bytes_in_flight (|size| size.0);
    /// Header bytes of one request.
    header: Size => header_bytes (small);
}

/// A value of the file in the unit of its ceiling.
fn measured<T, U>(value: &T, in_unit: fn(&T) -> U) -> U {
    in_unit(value)
}

fn seconds(span: &Span) -> u32 {
    u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX)
}
fn mebibytes(size: &Size) -> u32 {
    small(&Size(size.0 >> 20))
}
fn small(size: &Size) -> u32 {
    u32::try_from(size.0).unwrap_or(u32::MAX)
}

/// A time: `"500ms"`, `"90s"`, `"15m"`, `"2h"`, `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A number of bytes: `"512"`, `"64KiB"`, `"6MiB"`, `"2GiB"`, or a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

impl std::str::FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a time; write it as \"500ms\", \"90s\", \"15m\", \"2h\" or \"7d\""
            )
        };
        let (number, unit) = number_and_unit(text.trim()).ok_or_else(wrong)?;
        let ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        number
            .checked_mul(ms)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(wrong)
    }
}

impl std::str::FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a size; write it as \"64KiB\", \"6MiB\" or \"2GiB\"");
        let (number, unit) = number_and_unit(text.trim()).ok_or_else(wrong)?;
        let shift = match unit {
            "" | "B" => 0,
            "KiB" | "K" => 10,
            "MiB" | "M" => 20,
            "GiB" | "G" => 30,
            _ => return Err(wrong()),
        };
        let bytes = number
            .checked_shl(shift)
            .filter(|bytes| bytes >> shift == number);
        bytes.map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Number(u64),
            Text(String),
        }
        match Given::deserialize(from)? {
            Given::Number(bytes) => Ok(Self(bytes)),
            Given::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It was named and is not there.
    #[error("the configuration file {} does not exist", .0.display())]
    Missing(PathBuf),
    /// It does not read.
    #[error("the configuration file {} is not valid: {reason}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Key and reason.
        reason: String,
    },
}

/// Reads `path`; without one, `freehold.toml` in the data folder where there is one.
pub fn load(path: Option<&Path>, data: &Path) -> Result<Config, ConfigError> {
    let path = match path {
        Some(path) if !path.exists() => return Err(ConfigError::Missing(path.to_owned())),
        Some(path) => path.to_owned(),
        None => data.join("freehold.toml"),
    };
    if !path.exists() {
        return Ok(Config::default());
    }
    let read = Figment::from(Toml::file_exact(&path)).extract::<Config>();
    let valid = read
        .map_err(|error| error.to_string())
        .and_then(|config| config.within_the_platform().map(|()| config));
    valid.map_err(|reason| ConfigError::Invalid { path, reason })
}

/// More of every function is a mistake: a minimum for one of them is asked for by its name.
const READY_MAX: u32 = 100;

impl Config {
    /// What reads well and could never run: better refused here than at every start.
    fn within_the_platform(&self) -> Result<(), String> {
        self.audit.within_the_platform()?;
        if let Some(ready) = self.instances.ready.filter(|ready| *ready > READY_MAX) {
            return Err(format!(
                "instances.ready is {ready}; every function may have at most {READY_MAX} instances ready"
            ));
        }
        let (least, most) = (
            u64::from(Limits::default().tmp_min_mib),
            u64::from(freehold_sandbox::volumes::SIZE_MAX_MIB),
        );
        match &self.limits.tmp_max {
            Some(size) if !(least << 20..=most << 20).contains(&size.0) => Err(format!(
                "limits.tmp_max is {} bytes; a /tmp has between {least} MiB and {most} MiB",
                size.0
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        Figment::from(Toml::string(text))
            .extract()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn ceilings_are_raised_by_name_and_unit() {
        let config = read(
            "[limits]\nfunction_timeout = \"2h\"\nsync_payload = \"20MiB\"\nbytes_in_flight = 1024",
        )
        .unwrap();
        let limits = config.limits.over_defaults();
        assert_eq!(limits.function_timeout_s, 7200);
        assert_eq!(limits.sync_payload_bytes, 20 << 20);
        assert_eq!(limits.bytes_in_flight, 1024);
        assert_eq!(limits.memory_max_mib, Limits::default().memory_max_mib);
    }

    #[test]
    fn a_tmp_that_no_volume_can_hold_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let load = |tmp_max: &str| {
            let text = format!("[limits]\ntmp_max = \"{tmp_max}\"\n");
            std::fs::write(data.path().join("freehold.toml"), text).unwrap();
            load(None, data.path()).map_err(|error| error.to_string())
        };
        let config = load("40GiB").unwrap();
        assert_eq!(config.limits.over_defaults().tmp_max_mib, 40 * 1024);
        for wrong in ["41GiB", "42949672961", "1MiB"] {
            let error = load(wrong).unwrap_err();
            assert!(error.contains("limits.tmp_max"), "{error}");
        }
    }

    #[test]
    fn more_ready_instances_than_anybody_means_are_refused() {
        let data = tempfile::tempdir().unwrap();
        let load = |ready: &str| {
            let text = format!("[instances]\nready = {ready}\n");
            std::fs::write(data.path().join("freehold.toml"), text).unwrap();
            load(None, data.path()).map_err(|error| error.to_string())
        };
        assert_eq!(load("100").unwrap().instances.ready, Some(100));
        for wrong in ["101", "-1", "\"two\""] {
            let error = load(wrong).unwrap_err();
            assert!(error.contains("ready"), "{error}");
        }
    }

    #[test]
    fn an_audit_trail_that_cannot_be_kept_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let load = |lines: &str| {
            let text = format!("[audit]\n{lines}\n");
            std::fs::write(data.path().join("freehold.toml"), text).unwrap();
            load(None, data.path()).map_err(|error| error.to_string())
        };
        let audit = load("").unwrap().audit;
        assert_eq!((audit.bytes(), audit.file_bytes()), (1 << 30, 16 << 20));
        let audit = load("keep = \"1h\"\nsize = \"256KiB\"\nfile_size = \"64KiB\"").unwrap();
        assert_eq!(audit.audit.kept(), Duration::from_secs(3600));
        for (wrong, names) in [
            ("keep = \"59m\"", "audit.keep"),
            ("size = \"63MiB\"", "audit.size"),
            ("file_size = \"63KiB\"", "audit.file_size"),
            ("file_size = \"2GiB\"", "audit.file_size"),
            ("keeps = \"1d\"", "keeps"),
        ] {
            let error = load(wrong).unwrap_err();
            assert!(error.contains(names), "{error}");
        }
    }

    #[test]
    fn what_is_not_known_or_not_well_formed_is_refused_by_name() {
        for (text, names) in [
            ("[limits]\nfunction_timeot = \"2h\"", "function_timeot"),
            (
                "[limits]\nfunction_timeout = \"2 fortnights\"",
                "2 fortnights",
            ),
            (
                "[limits]\nsync_payload = \"99999999999GiB\"",
                "99999999999GiB",
            ),
            ("[sever]\nlisten = \"x\"", "sever"),
            ("[events]\nkeep_done = \"a day\"", "a day"),
            ("[instances]\ncpu = \"fast\"", "fast"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(names), "{error}");
        }
    }
}
