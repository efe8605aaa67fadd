//! Frames in append-only files: a length, a checksum, the bytes; and how a torn tail is told from
//! damage.
//!
//! ```text
//! u32 length │ u32 crc32 of the length │ u32 crc32 of the bytes │ bytes
//! ```
//! all little-endian. The length has a sum of its own, so a flipped bit in it is no torn tail. A process that is killed leaves the beginning of its last `write`; a power
//! cut may leave zeroes instead. Both stand at the end of the file and nowhere else, so both are
//! cut off when the file is next written. Anything else that does not read is damage: it is
//! reported with file and offset and never cut.

use bytes::Bytes;

/// Bytes in front of every frame's own.
pub(crate) const HEAD: usize = 12;
/// Bytes of one frame.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;

/// What stands at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame, and the offset behind it.
    Frame(Bytes, usize),
    /// The end, or the beginning of a frame that was never finished.
    End,
    /// Bytes that were a frame once, or never.
    Damaged,
}

/// Appends `bytes` as a frame; `bytes` is at most [`FRAME_BYTES_MAX`] long.
pub(crate) fn push(into: &mut Vec<u8>, bytes: &[u8]) {
    push_with(into, |into| into.extend_from_slice(bytes));
}

/// The same for what `write` appends, which saves a copy of it.
pub(crate) fn push_with(into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = into.len();
    into.extend_from_slice(&[0; HEAD]);
    write(into);
    let (head, bytes) = into[at..].split_at_mut(HEAD);
    let len = (bytes.len() as u32).to_le_bytes();
    head[..4].copy_from_slice(&len);
    head[4..8].copy_from_slice(&crc32fast::hash(&len).to_le_bytes());
    head[8..].copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// The length that the frame at `at` announces.
pub(crate) fn announced(bytes: &[u8], at: usize) -> Option<usize> {
    Some(word(bytes, at)? as usize)
}

/// Whether `bytes` begin with a length that agrees with its sum.
pub(crate) fn is_announced(bytes: &[u8]) -> bool {
    let (len, sum) = (bytes.get(..4), word(bytes, 4));
    len.is_some_and(|len| Some(crc32fast::hash(len)) == sum)
}

/// Reads the frame at `at` of `file`, which is whole up to its end.
pub(crate) fn at(file: &Bytes, at: usize) -> Found {
    let Some(rest) = file.get(at..) else {
        return Found::End;
    };
    let zeroes = || rest.iter().all(|byte| *byte == 0);
    let (Some(len), Some(len_sum)) = (word(rest, 0), word(rest, 4)) else {
        return Found::End;
    };
    if crc32fast::hash(&len.to_le_bytes()) != len_sum || len as usize > FRAME_BYTES_MAX {
        return if zeroes() { Found::End } else { Found::Damaged };
    }
    let end = HEAD + len as usize;
    let (Some(sum), Some(bytes)) = (word(rest, 8), rest.get(HEAD..end)) else {
        return Found::End;
    };
    if crc32fast::hash(bytes) == sum {
        return Found::Frame(file.slice(at + HEAD..at + end), at + end);
    }
    // A power cut leaves the last frame with its length and with zeroes for its end.
    if end == rest.len() && bytes.last() == Some(&0) {
        return Found::End;
    }
    Found::Damaged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            push(&mut bytes, frame);
        }
        bytes
    }

    fn read(file: Vec<u8>) -> (Vec<Vec<u8>>, Found) {
        let (file, mut offset, mut frames) = (Bytes::from(file), 0, Vec::new());
        loop {
            match at(&file, offset) {
                Found::Frame(bytes, next) => {
                    frames.push(bytes.to_vec());
                    offset = next;
                }
                end => return (frames, end),
            }
        }
    }

    proptest! {
        #[test]
        fn a_cut_file_gives_its_whole_frames_and_no_error(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..12),
            cut in 0_usize..600,
        ) {
            let mut bytes = file(&frames);
            bytes.truncate(cut);
            let (found, end) = read(bytes);
            prop_assert_eq!(end, Found::End);
            prop_assert_eq!(&found[..], &frames[..found.len()]);
        }

        #[test]
        fn a_flipped_bit_never_reads_as_another_frame(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 2..12),
            at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let mut bytes = file(&frames);
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let last = frames.last().map_or(0, |frame| HEAD + frame.len());
            let in_the_last = place >= bytes.len() - last;
            let (found, end) = read(bytes);
            prop_assert!(found.len() < frames.len());
            prop_assert!(end == Found::Damaged || in_the_last);
            prop_assert_eq!(&found[..], &frames[..found.len()]);
        }
    }

    #[test]
    fn a_flip_in_the_middle_is_damage_and_zeroes_at_the_end_are_not() {
        let frames = [vec![1; 20], vec![2; 20], vec![3; 20]];
        let mut flipped = file(&frames);
        flipped[HEAD + 5] ^= 1;
        assert_eq!(read(flipped), (vec![], Found::Damaged));
        let mut longer = file(&frames);
        longer[2] ^= 1;
        assert_eq!(read(longer), (vec![], Found::Damaged));
        let mut zeroed = file(&frames);
        zeroed.extend([0; 100]);
        // An empty frame of zeroes has a checksum of its own, so zeroes are no frame.
        assert_eq!(read(zeroed), (frames.to_vec(), Found::End));
    }
}
