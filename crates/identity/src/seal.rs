//! Sealing with the node's keys: ChaCha20-Poly1305 under a random nonce, context as associated
//! data.

use base64::{Engine, engine::general_purpose::STANDARD};
use freehold_domain::{
    ports::{SealError, Sealer},
    record::Sealed,
};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

/// The node's sealing keys; the newest seals, all of them open.
pub struct NodeSealer {
    keys: Vec<LessSafeKey>,
    random: SystemRandom,
}

impl NodeSealer {
    /// `keys` in order of age, the newest last; their numbers count from 1.
    ///
    /// Panics when there is none: a node without a sealing key must not start.
    pub fn new(keys: &[[u8; 32]]) -> Self {
        assert!(!keys.is_empty(), "a node has at least one sealing key");
        let keyed = |key: &[u8; 32]| {
            LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes are a key"))
        };
        Self {
            keys: keys.iter().map(keyed).collect(),
            random: SystemRandom::new(),
        }
    }

    /// A new key.
    pub fn new_key() -> [u8; 32] {
        let mut key = [0; 32];
        SystemRandom::new()
            .fill(&mut key)
            .expect("the kernel's random source does not fail once seeded");
        key
    }
}

impl Sealer for NodeSealer {
    fn seal(&self, plain: &[u8], context: &str) -> Sealed {
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .expect("the kernel's random source does not fail once seeded");
        let mut text = plain.to_vec();
        self.keys[self.keys.len() - 1]
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut text,
            )
            .expect("secrets are far below the cipher's limit of 256 GiB");
        Sealed {
            key: self.keys.len() as u32,
            nonce: hex::encode(nonce),
            text: STANDARD.encode(text),
        }
    }

    fn open(&self, sealed: &Sealed, context: &str) -> Result<Vec<u8>, SealError> {
        let wrong = || SealError {
            key: sealed.key,
            context: context.to_owned(),
        };
        let at = (sealed.key as usize).checked_sub(1).ok_or_else(wrong)?;
        let key = self.keys.get(at).ok_or_else(wrong)?;
        let nonce: [u8; NONCE_LEN] = hex::decode(&sealed.nonce)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(wrong)?;
        let mut text = STANDARD.decode(&sealed.text).map_err(|_| wrong())?;
        let plain = key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut text,
            )
            .map_err(|_| wrong())?;
        Ok(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_context_open_a_secret() {
        let (old, new) = (NodeSealer::new_key(), NodeSealer::new_key());
        let sealed = NodeSealer::new(&[old]).seal(b"{\"A\":\"b\"}", "111111111111/f");
        let rotated = NodeSealer::new(&[old, new]);
        assert_eq!(
            rotated.open(&sealed, "111111111111/f").unwrap(),
            b"{\"A\":\"b\"}"
        );
        assert!(rotated.open(&sealed, "111111111111/g").is_err());
        assert!(
            NodeSealer::new(&[new])
                .open(&sealed, "111111111111/f")
                .is_err()
        );
        let mut changed = sealed.clone();
        changed.text.replace_range(
            0..1,
            if changed.text.starts_with('A') {
                "B"
            } else {
                "A"
            },
        );
        assert!(rotated.open(&changed, "111111111111/f").is_err());
        assert!(
            rotated
                .open(
                    &Sealed {
                        key: 9,
                        ..sealed.clone()
                    },
                    "111111111111/f"
                )
                .is_err()
        );
        assert!(
            rotated
                .open(&Sealed { key: 0, ..sealed }, "111111111111/f")
                .is_err()
        );
    }
}
