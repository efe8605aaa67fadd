//! Tenants: a server with 1,000 of them beside a server with one, as many functions on both.
//!
//! The tenants are made as an operator makes them, each with a key of its own, and each makes its
//! function with it. Both servers stay up, and everything is asked of them in turn: the start over
//! what is there, the memory when it serves, and signed calls of hello and of the second handler (2 KB
//! in, 20 KB out, three log lines) with the root key, beside an echo that answers as much. A tenant
//! that nobody calls costs what it costs to know it. Everything may run on any core: what is compared
//! are two servers, and a start uses all of them.

use crate::{
    Failure,
    costs::{self, Cost},
    echo::Echo,
    figures::{Figures, median},
    functions::{self, Handler, Language},
    load::{Lines, Until},
    processes,
    registry::Registry,
    requests,
    server::Server,
};
use std::{path::Path, time::Instant};

/// Of every figure, many against one.
const GOAL: f64 = 1.10;
/// What is called.
const CALLED: [(Handler, &str); 2] = [
    (Handler::Hello, "hello-python"),
    (Handler::Work, "work-python"),
];

/// A server, and what was seen of it.
struct Side {
    name: String,
    server: Server,
    start_s: Vec<f64>,
    resident_mib: Vec<f64>,
    /// Of [`CALLED`].
    warm: [Cost; 2],
}

impl Side {
    /// A server with so many functions, each of a tenant of its own or all of one.
    fn with(bin: &Path, functions: usize, tenants: usize) -> Result<Self, Failure> {
        let mut server = Server::start(bin, "")?;
        functions::deploy(&server, Language::Python)?;
        functions::deploy_work(&server, Language::Python)?;
        let runtime = server.runtime_of("hello-python")?;
        let mut registry = Registry::new(&server, &runtime)?;
        let begun = Instant::now();
        if tenants == 1 {
            registry.grow_to(&server, functions)?;
        } else {
            for at in 1..=functions {
                server.as_another_account(|server, _| {
                    registry.follow(server);
                    registry.grow_to(server, at)
                })?;
            }
        }
        println!(
            "{functions} functions of {tenants} tenants made in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        Ok(Self {
            name: format!("{tenants} tenants"),
            server,
            start_s: Vec::new(),
            resident_mib: Vec::new(),
            warm: ["hello", "2 in, 20 KB out"]
                .map(|what| Cost::new(&format!("{what}, of {tenants}"))),
        })
    }

    async fn start_again(&mut self) -> Result<(), Failure> {
        let took = self.server.restart()?;
        self.start_s.push(took.as_secs_f64());
        self.server.settled().await?;
        let kib = processes::kib(self.server.pid(), "status", "VmRSS");
        self.resident_mib.push(kib as f64 / 1024.0);
        Ok(())
    }
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, tenants: usize) -> Result<(), Failure> {
    let (tenants, starts, rounds, calls) = match smoke {
        true => (3, 1, 1, 50),
        false => (tenants, 5, 7, 600),
    };
    let echo = Echo::start()?;
    let mut sides = [
        Side::with(bin, tenants, 1)?,
        Side::with(bin, tenants, tenants)?,
    ];
    for side in &sides {
        side.server.settled().await?;
    }
    for _ in 0..starts {
        for side in &mut sides {
            side.start_again().await?;
        }
    }
    let mut echoes = ["echo", "echo, 20 KB"].map(Cost::new);
    let mut bare = Lines::open(echo.target.address, 1)?;
    let mut lines = sides
        .iter()
        .map(|side| Lines::open(side.server.address(), 1))
        .collect::<Result<Vec<_>, _>>()?;
    // The first round starts the instances and warms all sides.
    for round in 0..=rounds {
        for (at, (handler, function)) in CALLED.into_iter().enumerate() {
            let event = handler.event();
            let plain = requests::post(&handler.echo(&echo), event);
            let mut unseen = Cost::new(function);
            let cost = if round == 0 {
                &mut unseen
            } else {
                &mut echoes[at]
            };
            let (until, look) = (Until::Calls(calls), handler.is_echo_of(event));
            cost.round(&mut bare, until, |_| plain.clone(), look, echo.payer())?;
            for (side, lines) in sides.iter_mut().zip(&mut lines) {
                // A signature is good for minutes.
                let signed = side.server.caller().invoke(function, event)?;
                let mut unseen = Cost::new(function);
                let cost = if round == 0 {
                    &mut unseen
                } else {
                    &mut side.warm[at]
                };
                let look = handler.is_answer();
                cost.round(lines, until, |_| signed.clone(), look, side.server.payer())?;
            }
        }
    }
    print(&sides, &echoes);
    let [one, many] = sides;
    one.server.stop()?;
    many.server.stop()
}

fn print(sides: &[Side; 2], echoes: &[Cost; 2]) {
    println!(
        "\n{:<16} {:>22} {:>22}",
        "medians", "start-up, s", "resident, MiB"
    );
    for side in sides {
        let (start, resident) = (median(&side.start_s), median(&side.resident_mib));
        println!("{:<16} {start:>22.3} {resident:>22.1}", side.name);
    }
    println!("\nsigned Invoke\n{}", costs::head("µs", "echo"));
    for (at, echo) in echoes.iter().enumerate() {
        println!("{}", echo.row(echo, 1.0));
        for side in sides {
            println!("{}", side.warm[at].row(echo, 1.0));
        }
    }
    let ratio = |of: &dyn Fn(&Side) -> f64| of(&sides[1]) / of(&sides[0]);
    println!("\nmany against one (goal ≤ {GOAL} each)");
    println!("  start-up {:.2}x", ratio(&|side| median(&side.start_s)));
    println!(
        "  resident {:.2}x",
        ratio(&|side| median(&side.resident_mib))
    );
    for (at, (_, function)) in CALLED.iter().enumerate() {
        let of = |of: fn(&Figures, usize) -> f64, percent| {
            ratio(&|side| of(side.warm[at].figures(), percent))
        };
        println!(
            "  {function}: CPU {:.2}x, p50 {:.2}x, p99 {:.2}x",
            ratio(&|side| side.warm[at].platform_us()),
            of(Figures::percentile, 50),
            of(Figures::percentile, 99)
        );
    }
}
