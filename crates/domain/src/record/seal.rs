//! Secrets are sealed from the first record version on: no plain text reaches the disk.

use serde::{Deserialize, Serialize};

/// Ciphertext with what is needed to open it again, except the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Which sealing key, counted from 1, so that keys can be rotated.
    pub key: u32,
    /// The nonce, hexadecimal.
    pub nonce: String,
    /// Ciphertext and tag, base64.
    pub text: String,
}
