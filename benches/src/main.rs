//! The numbers of SPECIFICATION.md, each measured beside a bare axum echo in the same run; the few that
//! have none beside them say what they are held against.
//!
//! It starts the real binary in a folder of its own, deploys hello functions through the binary's
//! own command line and calls them by function URL. It asserts no time: a machine that is slow
//! today fails nothing. What it does assert, by its exit code, is that every answer was right and,
//! for `hangups` and `front`, that nothing is left.

mod assembled;
mod backups;
mod bare;
mod burst;
mod calls;
mod client;
mod cold;
mod compiled;
mod cores;
mod costs;
mod echo;
mod figures;
mod flood;
mod front;
mod functions;
mod growth;
mod hangups;
mod idle;
mod instructions;
mod keep;
mod kept;
mod libraries;
mod load;
mod neighbours;
mod networks;
mod peers;
mod processes;
mod registry;
mod requests;
mod server;
mod spares;
mod steps;
mod tenants;
mod throughput;
mod versions;
mod warm;
mod wasm;

use clap::{Parser, Subcommand};
use functions::Handler;
use std::{path::PathBuf, process::ExitCode};

/// What a bench may fail with; it is printed and the run ends.
pub type Failure = Box<dyn std::error::Error>;

/// Held by tests that start processes, and by those that mind it: a new process has its parent's
/// locks until it executes its program.
#[cfg(test)]
fn starting_processes() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[derive(Parser)]
#[command(about = "Measures Freehold beside a bare axum echo")]
struct Args {
    /// The binary to measure
    #[arg(
        long,
        value_name = "FILE",
        env = "FREEHOLD_BIN",
        default_value = "target/release/freehold"
    )]
    bin: PathBuf,
    /// A few samples only: shows that the bench works, not how fast anything is
    #[arg(long, global = true)]
    smoke: bool,
    /// Where data folders with assembled runtimes lie, as the tests from outside keep them
    #[arg(long, value_name = "FOLDER", env = "FREEHOLD_TEST_ASSEMBLED")]
    assembled: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

/// Which handler is called.
#[derive(clap::Args)]
struct Which {
    /// Calls the second handler, 2 KB in, 20 KB out and three log lines, in place of hello
    #[arg(long)]
    work: bool,
}

impl Which {
    fn handler(&self) -> Handler {
        match self.work {
            true => Handler::Work,
            false => Handler::Hello,
        }
    }
}

#[derive(Subcommand)]
enum What {
    /// Time that a warm function URL adds to the echo: one connection, a core for each side
    Warm,
    /// First byte of a function that has no process
    Cold {
        /// Only these rows
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Where the SDKs of the runtimes, numpy and pandas are kept, fetched with pip and npm where
        /// they are not there; without it the rows that import them are left out
        #[arg(long, value_name = "FOLDER", env = "FREEHOLD_BENCH_LIBRARIES")]
        libraries: Option<PathBuf>,
        /// Samples of each row, one start at a time; p99 wants 200
        #[arg(long, default_value_t = cold::SAMPLES)]
        samples: usize,
        /// Beside a server whose functions have no network, in turn
        #[arg(long)]
        networks: bool,
    },
    /// First byte of a Node.js function that loads an SDK: its code compiled once, beside compiled by each
    Compiled {
        #[command(flatten)]
        which: Which,
        /// Where the SDKs and Node.js 22 are kept, fetched with npm where they are not there; without it
        /// nothing is measured
        #[arg(long, value_name = "FOLDER", env = "FREEHOLD_BENCH_LIBRARIES")]
        libraries: Option<PathBuf>,
    },
    /// First request on an instance that was made ahead of it
    Spares {
        #[command(flatten)]
        which: Which,
    },
    /// Signed Invoke from function to function, beside the same from outside
    Calls,
    /// WebAssembly, a fresh instance for every request: throughput beside the echo, and cold
    Wasm {
        /// Where `wasmtime serve` is installed; without it there is no peer
        #[arg(long, value_name = "FOLDER", env = "FREEHOLD_BENCH_PEERS")]
        peers: Option<PathBuf>,
    },
    /// Memory and processor time of a server with 100 functions that nobody calls
    Idle {
        #[command(flatten)]
        which: Which,
    },
    /// 10,000 invocations with hang-ups, timeouts and crashes, and what is left of them
    Hangups {
        /// Repeats an earlier run's choices
        #[arg(long)]
        seed: Option<u64>,
    },
    /// What the policy of keeping warm costs on replayed arrivals, beside fixed time-outs; no server
    Keep {
        /// Repeats an earlier run's arrivals
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Warm requests per second at 16 connections and the processor time of each, beside peers
    Throughput {
        /// Where peers are installed; without it there are none
        #[arg(long, value_name = "FOLDER", env = "FREEHOLD_BENCH_PEERS")]
        peers: Option<PathBuf>,
        /// Only rows whose name holds one of these, and the echo
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Requests at once
        #[arg(long, default_value_t = throughput::CONNECTIONS)]
        connections: usize,
    },
    /// Instructions and system calls per warm invocation, and whether they grow
    Instructions {
        /// Instances of one function at the most
        #[arg(long, default_value_t = 1000)]
        instances: usize,
        /// Where to write how often each address was executed
        #[arg(long, value_name = "FOLDER")]
        addresses: Option<PathBuf>,
        /// Writes what was counted to a file, instead of comparing it with what was kept
        #[arg(long, value_name = "FILE")]
        keep: Option<PathBuf>,
    },
    /// A server with 100,000 registered functions beside one with ten
    Growth {
        /// How many
        #[arg(long, default_value_t = 100_000)]
        functions: usize,
    },
    /// 1,000 instances of one Python function from zero, all at once
    Burst {
        #[command(flatten)]
        which: Which,
        /// How many
        #[arg(long, default_value_t = 1000)]
        instances: usize,
    },
    /// Idle instances that are held at once, and calls across all of them
    Density {
        #[command(flatten)]
        which: Which,
        /// How many
        #[arg(long, default_value_t = 10_000)]
        instances: usize,
    },
    /// Ten thousand simultaneous calls of one function that has no process
    Flood {
        #[command(flatten)]
        which: Which,
    },
    /// What others notice of 20,000 slow clients, and of 100,000 connections that say nothing
    Front {
        #[command(flatten)]
        which: Which,
    },
    /// What fifty quiet functions notice of one that is called without a pause
    Neighbours {
        #[command(flatten)]
        which: Which,
        /// How many quiet functions
        #[arg(long, default_value_t = 50)]
        functions: usize,
        /// Calls of each, alone and beside the noise
        #[arg(long, default_value_t = 20)]
        rounds: usize,
        /// Callers of the noisy function at once
        #[arg(long, default_value_t = neighbours::CALLERS)]
        callers: usize,
        /// The noisy function is of the account that the quiet ones are of
        #[arg(long)]
        one_account: bool,
        /// The noisy function's account is at its limits: requests, invocations, connections, bytes in flight, starts, concurrency, log bytes and stored logs
        #[arg(long, conflicts_with = "one_account")]
        limits: bool,
    },
    /// A server with 1,000 tenants beside one with one, as many functions on both
    Tenants {
        /// How many
        #[arg(long, default_value_t = 1000)]
        tenants: usize,
    },
    /// What callers notice while 1 GiB of packages is written into a backup
    Backups {
        #[command(flatten)]
        which: Which,
    },
    /// What a policy's check and a name cost each connection of a function
    Networks {
        /// In network and mounts of its own; it starts itself anew there
        #[arg(long, hide = true)]
        inside: bool,
    },
    /// The echo; started by the others
    #[command(hide = true)]
    Echo,
    /// The bare Runtime API; started by `throughput`
    #[command(hide = true)]
    Bare { function: PathBuf, processes: usize },
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    if let Some(place) = args.assembled.take() {
        assembled::keep_in(place);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread needs a descriptor or two");
    let ended = runtime.block_on(async {
        match &args.what {
            What::Warm => warm::run(&args.bin, args.smoke).await,
            What::Cold {
                only,
                libraries,
                samples,
                networks,
            } => {
                let libraries = libraries.clone().map(libraries::Libraries);
                let choice = cold::Choice {
                    only: only.clone(),
                    samples: *samples,
                    has_networks: *networks,
                };
                cold::run(&args.bin, args.smoke, &choice, libraries).await
            }
            What::Compiled { which, libraries } => {
                let libraries = libraries.clone().map(libraries::Libraries);
                compiled::run(&args.bin, args.smoke, which.handler(), libraries).await
            }
            What::Spares { which } => spares::run(&args.bin, args.smoke, which.handler()).await,
            What::Calls => calls::run(&args.bin, args.smoke).await,
            What::Wasm { peers } => wasm::run(&args.bin, args.smoke, peers.as_deref()).await,
            What::Idle { which } => idle::run(&args.bin, args.smoke, which.handler()).await,
            What::Hangups { seed } => hangups::run(&args.bin, args.smoke, *seed).await,
            What::Keep { seed } => keep::run(args.smoke, *seed),
            What::Throughput {
                peers,
                only,
                connections,
            } => throughput::run(&args.bin, args.smoke, peers.clone(), only, *connections).await,
            What::Instructions {
                instances,
                addresses,
                keep,
            } => {
                let (addresses, keep) = (addresses.as_deref(), keep.as_deref());
                instructions::run(&args.bin, args.smoke, *instances, addresses, keep).await
            }
            What::Growth { functions } => growth::run(&args.bin, args.smoke, *functions).await,
            What::Burst { which, instances } => {
                burst::run(&args.bin, args.smoke, which.handler(), *instances).await
            }
            What::Density { which, instances } => {
                burst::density(&args.bin, args.smoke, which.handler(), *instances).await
            }
            What::Flood { which } => flood::run(&args.bin, args.smoke, which.handler()).await,
            What::Front { which } => front::run(&args.bin, args.smoke, which.handler()).await,
            What::Neighbours {
                which,
                functions,
                rounds,
                callers,
                one_account,
                limits,
            } => {
                let sizes = neighbours::Sizes {
                    quiet: *functions,
                    rounds: *rounds,
                    callers: *callers,
                    noise: match (one_account, limits) {
                        (true, _) => neighbours::Noise::OfTheSame,
                        (_, true) => neighbours::Noise::AtItsLimits,
                        _ => neighbours::Noise::OfAnother,
                    },
                };
                neighbours::run(&args.bin, args.smoke, which.handler(), sizes).await
            }
            What::Tenants { tenants } => tenants::run(&args.bin, args.smoke, *tenants).await,
            What::Backups { which } => backups::run(&args.bin, args.smoke, which.handler()).await,
            What::Networks { inside } => networks::run(&args.bin, args.smoke, *inside).await,
            What::Echo => echo::serve().await,
            What::Bare {
                function,
                processes,
            } => bare::serve(function, *processes).await,
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
