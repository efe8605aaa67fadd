//! Bytes into lines, each within the limit.

use bytes::Bytes;

/// A line without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: Bytes,
    pub(super) truncated: bool,
}

/// Keeps the beginning of a line that has not ended, up to the limit; the rest of a line over it
/// is dropped, the line stays one line.
pub(super) struct Splitter {
    limit: usize,
    open: Vec<u8>,
    is_over: bool,
}

impl Splitter {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            open: Vec::new(),
            is_over: false,
        }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8], line: &mut impl FnMut(Line)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end]);
            self.emit(line);
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// Ends a line that has begun.
    pub(super) fn finish(&mut self, line: &mut impl FnMut(Line)) {
        if !self.open.is_empty() || self.is_over {
            self.emit(line);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = self.limit - self.open.len();
        self.is_over |= bytes.len() > room;
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn emit(&mut self, line: &mut impl FnMut(Line)) {
        let text = Bytes::copy_from_slice(&self.open);
        line(Line {
            text,
            truncated: self.is_over,
        });
        self.open.clear();
        // A long line's room is not kept for short ones.
        self.open.shrink_to(4 << 10);
        self.is_over = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(limit: usize, chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let (mut splitter, mut lines) = (Splitter::new(limit), Vec::new());
        let mut line = |line: Line| lines.push((line.text.to_vec(), line.truncated));
        for chunk in chunks {
            splitter.feed(chunk, &mut line);
        }
        splitter.finish(&mut line);
        lines
    }

    #[test]
    fn lines_are_cut_at_the_limit_and_stay_one() {
        let line = |text: &[u8], cut| (text.to_vec(), cut);
        assert_eq!(
            split(3, &[b"abcdef\nx\n"]),
            [line(b"abc", true), line(b"x", false)]
        );
        assert_eq!(
            split(3, &[b"ab", b"c", b"\n\0\xff"]),
            [line(b"abc", false), line(b"\0\xff", false)]
        );
        assert_eq!(split(3, &[b"abc", b"d", b"efg"]), [line(b"abc", true)]);
        assert_eq!(split(3, &[b"\n\n"]), [line(b"", false), line(b"", false)]);
        assert_eq!(split(3, &[b""]), []);
    }

    proptest! {
        #[test]
        fn every_line_that_comes_is_a_line_that_goes(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in prop::collection::vec(0_usize..200, 0..5),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let lines = split(1 << 20, &chunks);
            let mut joined: Vec<u8> = lines.iter().flat_map(|(text, _)| [text, &b"\n"[..]].concat()).collect();
            if !bytes.ends_with(b"\n") {
                joined.pop();
            }
            prop_assert_eq!(joined, bytes);
        }
    }
}
