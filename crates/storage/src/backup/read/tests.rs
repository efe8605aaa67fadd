//! What reads as a backup, and what does not: every cut, every flipped bit.

use super::*;
use crate::backup::write::{BackupWriter, Gone, Out, Pace};
use std::{cell::RefCell, rc::Rc};

#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Vec<u8>>>);

impl Out for Kept {
    fn send(&mut self, piece: Bytes) -> Result<(), Gone> {
        self.0.borrow_mut().extend_from_slice(&piece);
        Ok(())
    }
    fn is_wanted(&self) -> bool {
        true
    }
}

fn head() -> BackupHead {
    BackupHead {
        format: BACKUP_FORMAT,
        layout: FORMAT,
        release: "0.1.0".to_owned(),
        at_ms: 1_763_780_000_000,
        logs: true,
        seals: vec!["abcd".to_owned()],
    }
}

fn names() -> Vec<EntryName> {
    vec![
        EntryName::Meta,
        EntryName::Queue,
        EntryName::Ledger(0, 0),
        EntryName::Audit("0".parse().unwrap(), 0),
        EntryName::Blob("111111111111".parse().unwrap(), [7; 32]),
        EntryName::Log(3),
    ]
}

fn write(head: &BackupHead, files: &[(EntryName, Vec<u8>)], whole: bool) -> Vec<u8> {
    let kept = Kept::default();
    let mut writer = BackupWriter::new(kept.clone(), head).unwrap();
    for (name, bytes) in files {
        let (mut file, mut pace) = (&bytes[..], Pace::new(None));
        let written = writer.entry(name, &mut file, u64::MAX, &mut pace).unwrap();
        assert_eq!(written, bytes.len() as u64);
    }
    match whole {
        true => writer.finish().unwrap(),
        false => writer.give_up("the disk broke").unwrap(),
    }
    kept.0.take()
}

fn files(bytes: usize) -> Vec<(EntryName, Vec<u8>)> {
    let of = |(at, name)| (name, vec![at as u8; bytes * at]);
    names().into_iter().enumerate().map(of).collect()
}

#[derive(Default, Debug, PartialEq)]
struct Collected(Vec<(String, Vec<u8>, bool)>);

impl BackupSink for Collected {
    fn begin(&mut self, name: &str) -> Result<(), BackupFault> {
        self.0.push((name.to_owned(), Vec::new(), false));
        Ok(())
    }
    fn data(&mut self, bytes: &[u8]) -> Result<(), BackupFault> {
        self.0.last_mut().unwrap().1.extend_from_slice(bytes);
        Ok(())
    }
    fn end(&mut self) -> Result<(), BackupFault> {
        self.0.last_mut().unwrap().2 = true;
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<BackupSummary, BackupFault> {
    BackupReader::read_all(&mut &bytes[..], &mut Discard)
}

#[test]
fn what_was_written_is_read_however_it_comes() {
    let (files, head) = (files(200_000), head());
    let stream = write(&head, &files, true);
    let expected: Vec<_> = files
        .iter()
        .map(|(name, bytes)| (name.to_string(), bytes.clone(), true))
        .collect();
    for chunk in [1000, 4096, 300_000, stream.len()] {
        let (mut reader, mut found) = (BackupReader::default(), Collected::default());
        for piece in stream.chunks(chunk) {
            reader.feed(piece, &mut found).unwrap();
        }
        let summary = reader.finish().unwrap();
        assert_eq!(found.0, expected);
        assert_eq!((summary.head, summary.entries), (head.clone(), 6));
        assert_eq!(summary.bytes, 15 * 200_000);
        assert_eq!(summary.stream_bytes, stream.len() as u64);
        // The blob's bytes are not those that its name says; that is told and not hidden.
        assert_eq!(summary.damaged, [names()[4].to_string()]);
    }
}

#[test]
fn every_cut_is_found() {
    let stream = write(&head(), &files(20), true);
    for len in 0..stream.len() {
        match read(&stream[..len]) {
            Err(BackupFault::NotOne) => assert!(len < MAGIC.len()),
            Err(BackupFault::Truncated { bytes }) => assert_eq!(bytes, len as u64),
            other => panic!("{len} bytes: {other:?}"),
        }
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let stream = write(&head(), &files(20), true);
    for at in 0..stream.len() {
        for bit in 0..8 {
            let mut flipped = stream.clone();
            flipped[at] ^= 1 << bit;
            match read(&flipped) {
                Err(BackupFault::NotOne) => assert!(at < MAGIC.len()),
                Err(BackupFault::Damaged { offset, .. }) => assert!(offset <= at as u64),
                other => panic!("bit {bit} of byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_a_newer_release_wrote_is_refused_by_name() {
    let format = |n| BackupHead {
        layout: n,
        ..head()
    };
    let error = read(&write(&format(FORMAT + 1), &files(1), true)).unwrap_err();
    assert!(matches!(error, BackupFault::NewerLayout { found, .. } if found == FORMAT + 1));
    let none = read(&write(&format(0), &files(1), true)).unwrap_err();
    assert!(matches!(none, BackupFault::Damaged { .. }), "{none}");
    // A head of which this release understands nothing but the format.
    let mut stream = MAGIC.to_vec();
    frame::push(&mut stream, br#"H{"format":9,"other":[]}"#);
    stream.extend_from_slice(b"whatever follows");
    let error = read(&stream).unwrap_err();
    assert!(
        matches!(
            error,
            BackupFault::Newer {
                found: 9,
                newest: 1
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("use a newer one"), "{error}");
}

#[test]
fn what_was_given_up_says_why() {
    let error = read(&write(&head(), &files(1)[..2], false)).unwrap_err();
    assert!(matches!(error, BackupFault::GivenUp { .. }));
    assert!(error.to_string().contains("the disk broke"), "{error}");
}

#[track_caller]
fn check_damaged(stream: &[u8], what: &str) {
    let error = read(stream).unwrap_err();
    assert!(matches!(error, BackupFault::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains(what), "{error}");
}

#[test]
fn entries_come_each_once_in_their_order_and_none_that_must_be_there_is_left_out() {
    let all = files(3);
    let of = |picked: &[usize]| {
        let picked: Vec<_> = picked.iter().map(|at| all[*at].clone()).collect();
        write(&head(), &picked, true)
    };
    assert!(read(&of(&[0, 1])).is_ok());
    check_damaged(&of(&[1]), "out of its turn");
    check_damaged(&of(&[0, 2]), "out of its turn");
    check_damaged(&of(&[0, 1, 1]), "out of its turn");
    check_damaged(&of(&[0, 1, 3, 2]), "out of its turn");
    check_damaged(&of(&[0]), "none of its kind");
    check_damaged(&of(&[]), "none of its kind");
}

#[test]
fn names_that_lead_elsewhere_and_whatever_follows_the_end_are_refused() {
    let good = write(&head(), &files(1), true);
    let mut longer = good.clone();
    longer.push(0);
    check_damaged(&longer, "something follows");
    longer.extend_from_slice(&good);
    check_damaged(&longer, "something follows");
    let mut stream = MAGIC.to_vec();
    let mut push = |kind: u8, json: serde_json::Value| {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(json.to_string().as_bytes());
        frame::push(&mut stream, &bytes);
    };
    push(kind::HEAD, serde_json::to_value(head()).unwrap());
    push(kind::ENTRY, serde_json::json!({"name": "../../etc/passwd"}));
    check_damaged(&stream, "is no file of a data folder");
    for other in [
        &b""[..],
        b"FH",
        b"SQLite format 3\0",
        &[0; 4096],
        b"PK\x03\x04",
    ] {
        assert!(matches!(read(other), Err(BackupFault::NotOne)), "{other:?}");
    }
}
