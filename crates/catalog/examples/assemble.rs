//! Assembles the trees of this machine into a folder and says how long that took:
//! `cargo run -p freehold-catalog --example assemble -- /var/tmp/data [--sdks]`.

use freehold_catalog::{DiscoverOptions, ToolEnvironment, assemble, discover, install_sdks};
use std::{path::PathBuf, time::Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = PathBuf::from(std::env::args().nth(1).ok_or("name a folder")?);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let options = DiscoverOptions {
        path: std::env::split_paths(&path).collect(),
        homes: std::env::var_os("HOME")
            .map(PathBuf::from)
            .into_iter()
            .collect(),
        java_home: std::env::var_os("JAVA_HOME").map(PathBuf::from),
        tools: ToolEnvironment::of(std::env::vars_os()),
        ..DiscoverOptions::default()
    };
    let started = Instant::now();
    let found = discover(&options);
    println!("discovered in {:?}", started.elapsed());
    if std::env::args().any(|a| a == "--sdks") {
        let report = install_sdks(&found, &data)?;
        println!("sdks after {:?}: {report:#?}", started.elapsed());
    }
    let catalog = assemble(&found, &data, false)?;
    for row in catalog.rows() {
        println!(
            "{:>3} {:<16} {:<8} {}",
            row.id,
            row.name.as_str(),
            row.version,
            row.digest
        );
    }
    for problem in catalog.problems() {
        println!("{}: {} ({})", problem.about, problem.reason, problem.remedy);
    }
    println!("ready after {:?}", started.elapsed());
    Ok(())
}
