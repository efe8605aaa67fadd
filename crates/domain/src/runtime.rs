//! Runtimes: root trees with a digest that run packages.
//!
//! `catalog` finds and assembles them as root, before privileges are dropped; the spawner mounts
//! them by id from the root-owned table and opens no path that it was sent.

use crate::ids::{Digest, RuntimeName};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a runtime's functions are spoken to and started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeFamily {
    /// CPython with our bootstrap.
    Python,
    /// Node.js with our bootstrap.
    Node,
    /// A JVM with our bootstrap.
    Java,
    /// The package's own `bootstrap`.
    Provided,
    /// WebAssembly, inside the server: no process and no tree.
    Wasm,
}

impl RuntimeFamily {
    /// Whether its bootstrap speaks direct frames. Such a runtime is executed with its end of the
    /// frames socket at [`FRAMES_DESCRIPTOR`](crate::ports::FRAMES_DESCRIPTOR).
    pub fn speaks_frames(self) -> bool {
        matches!(self, Self::Python | Self::Node | Self::Java)
    }

    /// Whether its bootstrap hands over the code that an init compiled, and takes it in the next
    /// ([`CompiledCode`](crate::ports::CompiledCode)).
    pub fn hands_over_code(self) -> bool {
        matches!(self, Self::Node)
    }
}

/// The one runtime of [`RuntimeFamily::Wasm`].
pub const WASM_RUNTIME: &str = "wasm";

/// One row of the root-owned table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeRow {
    /// The number by which the spawner is asked for it; never reused for another digest.
    pub id: u32,
    /// The name on the wire, `python3.12`.
    pub name: RuntimeName,
    /// How it is started.
    pub family: RuntimeFamily,
    /// The interpreter's own version, `3.12.1`.
    pub version: String,
    /// SHA-256 over the tree.
    pub digest: Digest,
    /// The assembled tree on the host, root-owned: becomes the instance's read-only root.
    pub root: PathBuf,
    /// Further read-only trees: host path, path inside (`/var/runtime/…`, the SDKs).
    pub mounts: Vec<(PathBuf, String)>,
    /// What is executed inside, argv[0] an absolute path there. For [`RuntimeFamily::Provided`]
    /// the first of `/var/task/bootstrap`, `/opt/bootstrap` that exists.
    pub argv: Vec<String>,
    /// The environment that belongs to the runtime; an instance's own comes on top.
    pub env: Vec<(String, String)>,
}
