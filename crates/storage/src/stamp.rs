//! A word in the lock file that vouches for what is derived from the folder's other files.
//!
//! ```text
//! pid, padded with spaces to 31 bytes │ \n │ 16 hex digits │ \n
//! ```
//!
//! Whoever keeps derived data draws a token, keeps it there and writes it here; at the next start
//! the two are equal, or the derived data is made again. A release that knows nothing of this
//! writes its pid over the whole file, so that the word is gone whenever such a one had the folder.

use std::{fs::File, io, os::unix::fs::FileExt};

/// What the pid takes.
pub(crate) const PID_BYTES: usize = 32;
const DIGITS: usize = 16;

/// The word in a lock file that is held.
#[derive(Debug)]
pub(crate) struct Stamp {
    file: File,
}

impl Stamp {
    /// The word of a lock file, which is held as long as this is.
    pub(crate) fn of(lock: &File) -> io::Result<Self> {
        let file = lock.try_clone()?;
        Ok(Self { file })
    }

    /// The token that it vouches for; `None` when it vouches for nothing.
    pub(crate) fn read(&self) -> Option<u64> {
        let mut word = [0; DIGITS + 1];
        self.file
            .read_exact_at(&mut word, PID_BYTES as u64)
            .ok()
            .filter(|()| word[DIGITS] == b'\n')?;
        u64::from_str_radix(std::str::from_utf8(&word[..DIGITS]).ok()?, 16).ok()
    }

    /// Vouches for `token`.
    pub(crate) fn set(&self, token: u64) -> io::Result<()> {
        let word = format!("{token:016x}\n");
        self.file.write_all_at(word.as_bytes(), PID_BYTES as u64)
    }

    /// Vouches for nothing, on disk when this returns. Written over the word, which takes no space on
    /// a disk that is full.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let word = format!("{:->DIGITS$}\n", "");
        self.file.write_all_at(word.as_bytes(), PID_BYTES as u64)?;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_until_it_is_cleared_or_written_over() {
        let mut file = tempfile::tempfile().expect("a file");
        let stamp = Stamp::of(&file).expect("cloned");
        assert_eq!(stamp.read(), None, "nothing yet");
        for token in [0, 7, u64::MAX] {
            stamp.set(token).expect("written");
            assert_eq!(stamp.read(), Some(token));
        }
        stamp.clear().expect("written");
        assert_eq!(stamp.read(), None);
        stamp.set(9).expect("written");
        file.set_len(0).expect("cut");
        io::Write::write_all(&mut file, b"4711\n").expect("as releases before this one do");
        assert_eq!(stamp.read(), None);
    }
}
