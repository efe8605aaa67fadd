//! Arguments and environment on their way to an instance.
//!
//! The server writes them into a sealed memory file; the spawner looks at the file's seals and
//! length and hands it on unread, so that no secret of a tenant is ever in the memory that later
//! sandboxes are forked from. The parked process, which has no privilege left, parses it. Refuses
//! text with a NUL byte, a variable without a name, and more than [`BLOCK_ENTRIES_MAX`] entries.

use crate::protocol::{BLOCK_ENTRIES_MAX, BLOCK_MAX};
use std::ffi::CString;

/// Arguments and variables as `exec` wants them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// argv after the runtime's own.
    pub args: Vec<CString>,
    /// Names and values.
    pub env: Vec<(CString, CString)>,
}

/// Why a block cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// More bytes or entries than are allowed.
    #[error(
        "arguments and environment together exceed {BLOCK_MAX} bytes or {BLOCK_ENTRIES_MAX} entries"
    )]
    TooLarge,
    /// A text with a NUL byte, or a variable whose name is empty or holds `=`.
    #[error("an argument or variable cannot be passed to a process")]
    Text,
    /// Not a block.
    #[error("the block ends inside an entry")]
    Short,
}

/// Writes a block.
pub fn encode(args: &[String], env: &[(String, String)]) -> Result<Vec<u8>, BlockError> {
    let entries = args.len() + env.len() * 2;
    if entries > BLOCK_ENTRIES_MAX as usize {
        return Err(BlockError::TooLarge);
    }
    let mut out = Vec::new();
    out.extend_from_slice(&(args.len() as u32).to_le_bytes());
    out.extend_from_slice(&(env.len() as u32).to_le_bytes());
    let names = env.iter().map(|(name, _)| name);
    if names
        .into_iter()
        .any(|name| name.is_empty() || name.contains('='))
    {
        return Err(BlockError::Text);
    }
    let pairs = env.iter().flat_map(|(name, value)| [name, value]);
    for text in args.iter().chain(pairs) {
        if text.contains('\0') {
            return Err(BlockError::Text);
        }
        let len = u32::try_from(text.len()).map_err(|_| BlockError::TooLarge)?;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
        if out.len() as u64 > BLOCK_MAX {
            return Err(BlockError::TooLarge);
        }
    }
    Ok(out)
}

/// Reads a block.
pub fn decode(mut bytes: &[u8]) -> Result<Block, BlockError> {
    let number = |bytes: &mut &[u8]| -> Result<u32, BlockError> {
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or(BlockError::Short)?;
        *bytes = rest;
        Ok(u32::from_le_bytes(*head))
    };
    let (args, env) = (number(&mut bytes)?, number(&mut bytes)?);
    if u64::from(args) + 2 * u64::from(env) > u64::from(BLOCK_ENTRIES_MAX) {
        return Err(BlockError::TooLarge);
    }
    let mut text = || -> Result<CString, BlockError> {
        let len = number(&mut bytes)? as usize;
        let (head, rest) = bytes.split_at_checked(len).ok_or(BlockError::Short)?;
        bytes = rest;
        CString::new(head).map_err(|_| BlockError::Text)
    };
    let args = (0..args).map(|_| text()).collect::<Result<_, _>>()?;
    let env = (0..env)
        .map(|_| Ok((text()?, text()?)))
        .collect::<Result<_, _>>()?;
    if bytes.is_empty() {
        Ok(Block { args, env })
    } else {
        Err(BlockError::Short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_process_cannot_be_given_is_refused() {
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(encode(&["a\0b".into()], &[]), Err(BlockError::Text));
        assert_eq!(encode(&[], &pair("", "x")), Err(BlockError::Text));
        assert_eq!(encode(&[], &pair("A=B", "x")), Err(BlockError::Text));
        assert_eq!(
            encode(&["x".repeat(1 << 20)], &[]),
            Err(BlockError::TooLarge)
        );
        assert_eq!(
            encode(&vec![String::new(); 8193], &[]),
            Err(BlockError::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn a_block_comes_back_as_it_went(
            args in prop::collection::vec("[^\0]{0,20}", 0..5),
            env in prop::collection::vec(("[A-Z_]{1,9}", "[^\0]{0,20}"), 0..5),
        ) {
            let block = decode(&encode(&args, &env).unwrap()).unwrap();
            let back: Vec<String> = block.args.into_iter().map(|a| a.into_string().unwrap()).collect();
            prop_assert_eq!(back, args);
            prop_assert_eq!(block.env.len(), env.len());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
