//! The real binary in a folder of its own, from start to stop.

use crate::{
    Failure,
    assembled::Assembled,
    client::{Connection, Target},
    processes,
    requests::Caller,
};
use freehold_identity::sigv4::Credentials;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Once,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The first start copies the machine's interpreters into trees.
const START_LIMIT: Duration = Duration::from_secs(180);
/// Drain and destroy have bounds of their own, 30 and 20 s.
const STOP_LIMIT: Duration = Duration::from_secs(70);
/// The platform's other processes may end a moment after the server.
const GONE_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for the platform to have nothing left to do.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);
/// Longest wait for instances to be removed.
const EMPTY_LIMIT: Duration = Duration::from_secs(60);

/// Benches make functions faster than an account may by default.
const LIFTED: [&str; 2] = ["FREEHOLD_LIMITS_MANAGEMENT", "FREEHOLD_LIMITS_GET_FUNCTION"];

/// A server that runs.
pub struct Server {
    child: Child,
    bin: PathBuf,
    folder: TempDir,
    assembled: Option<Assembled>,
    address: SocketAddr,
    admin: SocketAddr,
    environment: Vec<(&'static str, String)>,
}

#[derive(Deserialize)]
struct Endpoint {
    listen: String,
    admin: String,
    region: String,
}

#[derive(Deserialize)]
struct RootKey {
    access_key_id: String,
    secret_access_key: String,
}

/// Spawns the server over `data`; all else of it lies in `folder`.
fn serve(bin: &Path, folder: &Path, data: &Path) -> std::io::Result<Child> {
    let told = fs::File::create(folder.join("server.log"))?;
    let mut command = Command::new(bin);
    command
        .arg("serve")
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .arg("--data")
        .arg(data)
        .arg("--config")
        .arg(folder.join("freehold.toml"))
        .envs(LIFTED.map(|name| (name, "none")))
        .env("FREEHOLD_LOG", "warn")
        .env("TMPDIR", folder.join("tmp"));
    command.stdout(told.try_clone()?).stderr(told).spawn()
}

fn data_of(assembled: Option<&Assembled>, folder: &TempDir) -> PathBuf {
    assembled.map_or_else(|| folder.path().join("data"), |one| one.data().to_owned())
}

impl Server {
    /// Starts `bin` with `config` as its `freehold.toml` and waits until it serves.
    pub fn start(bin: &Path, config: &str) -> Result<Self, Failure> {
        Self::start_over(bin, config, |_| Ok(()))
    }

    /// The same over a data folder that `prepare` has made and filled.
    pub fn start_over(
        bin: &Path,
        config: &str,
        prepare: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            println!("limits: management = none (default 15 a second), get_function = none (100)");
        });
        let bin = fs::canonicalize(bin)
            .map_err(|error| format!("{}: {error}; build it first", bin.display()))?;
        let folder = tempfile::Builder::new()
            .prefix("freehold-bench-")
            .tempdir()?;
        // The server gives root up, and must still be able to pass.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::write(folder.path().join("freehold.toml"), config)?;
        // Its temporary files are counted, so they are nobody else's.
        let temporary = folder.path().join("tmp");
        fs::create_dir(&temporary)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let assembled = Assembled::take()?;
        let data = data_of(assembled.as_ref(), &folder);
        prepare(&data)?;
        let mut server = Self {
            child: serve(&bin, folder.path(), &data)?,
            bin,
            folder,
            assembled,
            address: nowhere,
            admin: nowhere,
            environment: Vec::new(),
        };
        server.greeted()?;
        Ok(server)
    }

    /// Stops it and starts it again over the same data; how long it takes from then on until it serves.
    pub fn restart(&mut self) -> Result<Duration, Failure> {
        self.terminate()?;
        let begun = Instant::now();
        self.child = serve(&self.bin, self.folder.path(), &self.data())?;
        self.greeted().map(|()| begun.elapsed())
    }

    /// Waits until it serves and learns where.
    fn greeted(&mut self) -> Result<(), Failure> {
        let (data, begun) = (self.data(), Instant::now());
        let endpoint: Endpoint = loop {
            if let Ok(text) = fs::read(data.join("run/endpoint.json")) {
                break serde_json::from_slice(&text)?;
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server ended, {status}: {}", self.log()).into());
            }
            if begun.elapsed() > START_LIMIT {
                return Err(format!("not serving after {START_LIMIT:?}: {}", self.log()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let key: RootKey = serde_json::from_slice(&fs::read(data.join("root-key"))?)?;
        let address = |url: &str| url.trim_start_matches("http://").parse::<SocketAddr>();
        self.address = address(&endpoint.listen)?;
        self.admin = address(&endpoint.admin)?;
        self.environment = vec![
            ("AWS_ENDPOINT_URL", endpoint.listen),
            ("AWS_REGION", endpoint.region),
            ("AWS_ACCESS_KEY_ID", key.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", key.secret_access_key),
        ];
        Ok(())
    }

    /// Of the server itself; it never forks after its start.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Whose processor time its answers cost.
    pub fn payer(&self) -> processes::Payer {
        processes::Payer::Server(self.pid())
    }

    /// The runtime that a function was deployed with.
    pub fn runtime_of(&self, function: &str) -> Result<String, Failure> {
        let described = self.cli(&["describe", function])?;
        let found = find(&described, "Runtime").or_else(|| find(&described, "runtime"));
        Ok(found.ok_or("describe names no runtime")?.to_owned())
    }

    /// Waits until the platform's processes have nothing left to do: made ready, synced, parked.
    pub async fn settled(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let before = processes::Spent::of(self.pid());
            tokio::time::sleep(Duration::from_millis(500)).await;
            let spent = processes::Spent::of(self.pid()).since(before);
            if spent.platform_ns < 5_000_000 {
                return Ok(());
            }
            if begun.elapsed() > SETTLE_LIMIT {
                return Err("the platform does not come to rest".into());
            }
        }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root key, for signed calls.
    pub fn caller(&self) -> Caller {
        let of = |name: &str| {
            let found = self.environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        Caller {
            host: self.address.to_string(),
            region: of("AWS_REGION"),
            key: Credentials {
                access_key_id: of("AWS_ACCESS_KEY_ID"),
                secret: of("AWS_SECRET_ACCESS_KEY"),
                token: None,
            },
        }
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// A folder for sources, gone with the server.
    pub fn sources(&self) -> PathBuf {
        self.folder.path().join("sources")
    }

    /// The server's folder for temporary files.
    pub fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// Where it serves.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What clients of it read from their environment: where it is, and its root key.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = self.environment.iter();
        all.map(|(name, value)| (*name, value.as_str()))
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        data_of(self.assembled.as_ref(), &self.folder)
    }

    /// Runs a command of the binary as its user would, and returns its JSON.
    pub fn cli(&self, args: &[&str]) -> Result<Value, Failure> {
        let output = Command::new(&self.bin)
            .args(args)
            .arg("--json")
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .env_remove("AWS_PROFILE")
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            return Err(format!("freehold {}: {told}", args.join(" ")).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Makes another account and does as it what is wanted of it; it is told the account's id.
    pub fn as_another_account<T>(
        &mut self,
        wanted: impl FnOnce(&Self, &str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let made = self.cli(&["tenants", "create"])?;
        let id = made["key"]["tenant"].as_str();
        let id = id.ok_or("tenants create printed no id")?.to_owned();
        let own = self.environment.clone();
        for (name, value) in &mut self.environment {
            let field = match *name {
                "AWS_ACCESS_KEY_ID" => "access_key_id",
                "AWS_SECRET_ACCESS_KEY" => "secret_access_key",
                _ => continue,
            };
            let made = made["key"][field].as_str();
            *value = made.ok_or("tenants create printed no key")?.to_owned();
        }
        let done = wanted(self, &id);
        self.environment = own;
        done
    }

    /// Deploys a folder with a public URL and says where to call it, by host as on AWS.
    pub fn deploy(&self, folder: &Path, options: &[&str]) -> Result<Target, Failure> {
        let folder = folder.to_str().ok_or("the path of a source is not text")?;
        let mut args = vec!["deploy", folder, "--public"];
        args.extend(options);
        let deployed = self.cli(&args)?;
        let url = deployed["url"].as_str().ok_or("deploy printed no URL")?;
        let host = url.split('/').nth(2).ok_or("the URL has no host")?;
        Ok(Target {
            address: self.address,
            host: host.to_owned(),
            path: "/".to_owned(),
        })
    }

    /// The metrics by series, and their sums by name alone.
    pub async fn metrics(&self) -> Result<BTreeMap<String, f64>, Failure> {
        let target = Target {
            address: self.admin,
            host: self.admin.to_string(),
            path: "/metrics".to_owned(),
        };
        let answer = Connection::open(&target).await?.get().await?;
        let mut sums = BTreeMap::new();
        for line in std::str::from_utf8(&answer.body)?.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            if line.starts_with('#') {
                continue;
            }
            let value = value.parse::<f64>()?;
            let name = series.split('{').next().unwrap_or(series);
            *sums.entry(name.to_owned()).or_default() += value;
            if name != series {
                sums.insert(series.to_owned(), value);
            }
        }
        Ok(sums)
    }

    /// Waits until no instance of any function is left.
    pub async fn empty(&self) -> Result<(), Failure> {
        self.until("freehold_instances", 0).await
    }

    /// Waits until a metric has this value.
    pub async fn until(&self, metric: &str, value: u32) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let metrics = self.metrics().await?;
            let now = *metrics
                .get(metric)
                .ok_or_else(|| format!("no metric {metric}"))?;
            if now == f64::from(value) {
                return Ok(());
            }
            if begun.elapsed() > EMPTY_LIMIT {
                return Err(format!("{metric} is {now} after {EMPTY_LIMIT:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops it in good order; an error says what did not end.
    pub fn stop(mut self) -> Result<(), Failure> {
        let platform = processes::tree(self.pid());
        let begun: Vec<_> = platform.iter().map(|pid| processes::begun(*pid)).collect();
        self.terminate()?;
        // A pid alone proves nothing: another process may have it by now.
        let left = || {
            let same = |(pid, begun): &(&i32, &Option<String>)| processes::begun(**pid) == **begun;
            let both = platform
                .iter()
                .zip(&begun)
                .filter(|(_, begun)| begun.is_some());
            let left = both.filter(same).map(|(pid, _)| *pid);
            left.map(|pid| format!("{} ({pid})", processes::name(pid)))
                .collect::<Vec<_>>()
        };
        let waited = Instant::now();
        while !left().is_empty() && waited.elapsed() < GONE_LIMIT {
            std::thread::sleep(Duration::from_millis(10));
        }
        if left().is_empty() {
            return Ok(());
        }
        Err(format!("outlived the server by {GONE_LIMIT:?}: {:?}", left()).into())
    }

    fn terminate(&mut self) -> Result<(), Failure> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > STOP_LIMIT {
                self.child.kill()?;
                self.child.wait()?;
                return Err(format!("the server did not stop within {STOP_LIMIT:?}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// The first text of this name, however deep.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    let fields = value.as_object()?;
    let own = fields.get(name).and_then(Value::as_str);
    own.or_else(|| fields.values().find_map(|field| find(field, name)))
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait()
            && !status.success()
        {
            eprintln!("bench: the server ended, {status}: {}", self.log());
        }
        if let Err(failure) = self.terminate() {
            eprintln!("bench: {failure}");
        }
    }
}
