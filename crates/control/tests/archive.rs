//! Every rule on archives, each broken by an archive made for it by hand.

mod support;

use freehold_control::archive::{
    ArchiveError, EntryRule, UnpackError, UnpackLimits, Unpacked, unpack::unpack,
};
use proptest::prelude::*;
use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::Path,
};
use support::{Item, Zip};

const LIMITS: UnpackLimits = UnpackLimits {
    entries: 100,
    unpacked_bytes: 1 << 20,
};

fn unpack_into(dir: &Path, zip: &[u8], limits: &UnpackLimits) -> Result<Unpacked, UnpackError> {
    let target = File::open(dir).unwrap();
    unpack(zip, target.as_fd(), limits)
}

fn refusal(zip: &[u8]) -> ArchiveError {
    let dir = tempfile::tempdir().unwrap();
    match unpack_into(dir.path(), zip, &LIMITS) {
        Err(UnpackError::Refused(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

fn zip(items: impl IntoIterator<Item = Item>) -> Vec<u8> {
    let mut zip = Zip::default();
    for item in items {
        zip.add(item);
    }
    zip.finish()
}

/// The archive of these entries is refused, by this rule.
fn check(items: impl IntoIterator<Item = Item>, rule: EntryRule) {
    match refusal(&zip(items)) {
        ArchiveError::Entry { rule: found, .. } => assert_eq!(found, rule),
        other => panic!("{other:?} instead of {rule:?}"),
    }
}

fn file(name: &str) -> Item {
    Item::file(name.as_bytes(), b"x")
}

#[test]
fn an_honest_archive_unpacks_with_its_modes() {
    let dir = tempfile::tempdir().unwrap();
    let script = Item {
        mode: 0o100_755,
        ..Item::deflated(b"bin/run.sh", b"#!/bin/sh\n")
    };
    let setuid = Item {
        mode: 0o106_777,
        ..file("bin/suid")
    };
    let items = [
        Item::folder(b"empty/"),
        file("./app.py"),
        script,
        setuid,
        Item::deflated(b"big.txt", &vec![b'a'; 300_000]),
        Item::link(b"bin/link", b"../app.py"),
        Item::link(b"dangling", b"nothing"),
        Item::file("ä/日本.txt".as_bytes(), b""),
    ];
    let done = unpack_into(dir.path(), &zip(items), &LIMITS).unwrap();
    assert_eq!(done.files, 7);
    assert_eq!(done.bytes, 300_000 + 10 + 2);
    let mode = |name: &str| {
        let found = fs::symlink_metadata(dir.path().join(name)).unwrap();
        found.permissions().mode() & 0o7777
    };
    assert_eq!(mode("app.py"), 0o644);
    assert_eq!(mode("bin/run.sh"), 0o755);
    assert_eq!(mode("bin/suid"), 0o755);
    assert_eq!(mode("empty"), 0o755);
    assert_eq!(mode("ä"), 0o755);
    assert_eq!(fs::read(dir.path().join("bin/link")).unwrap(), b"x");
    assert_eq!(
        fs::metadata(dir.path().join("big.txt")).unwrap().len(),
        300_000
    );
}

#[test]
fn an_archive_in_an_archive_stays_a_file() {
    let inner = zip([Item::deflated(b"zeros", &vec![0; 1 << 19])]);
    let dir = tempfile::tempdir().unwrap();
    let outer = zip([Item::deflated(b"inner.zip", &inner)]);
    unpack_into(dir.path(), &outer, &LIMITS).unwrap();
    assert_eq!(fs::read(dir.path().join("inner.zip")).unwrap(), inner);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for (name, rule) in [
        ("/etc/passwd", EntryRule::Absolute),
        ("C:/x", EntryRule::Absolute),
        ("../x", EntryRule::Parent),
        ("a/../../x", EntryRule::Parent),
        ("a/..", EntryRule::Parent),
        ("..\\x", EntryRule::Backslash),
        ("a\\b", EntryRule::Backslash),
        ("a\0b", EntryRule::ControlCharacter),
        ("a\nb", EntryRule::ControlCharacter),
        ("", EntryRule::Empty),
        ("a//b", EntryRule::Empty),
        (&"x".repeat(256), EntryRule::NameTooLong),
        (&"abc/".repeat(1024), EntryRule::NameTooLong),
        (&"d/".repeat(101), EntryRule::TooDeep),
    ] {
        check([Item::file(name.as_bytes(), b"")], rule);
    }
    check([Item::file(b"\xff\xfe", b"")], EntryRule::NotUtf8);
}

#[test]
fn names_that_meet_are_refused() {
    check([file("a"), file("a")], EntryRule::Duplicate);
    check([file("a"), file("./a")], EntryRule::Duplicate);
    check([file("a"), file("A")], EntryRule::CaseCollision);
    check([file("d/a"), file("D/b")], EntryRule::CaseCollision);
    check([file("Ä"), file("ä")], EntryRule::CaseCollision);
    check([file("a"), file("a/b")], EntryRule::FileAndFolder);
    check([file("a/b"), file("a")], EntryRule::FileAndFolder);
    check([Item::folder(b"a/"), file("a")], EntryRule::FileAndFolder);
}

#[test]
fn links_that_leave_and_paths_through_links_are_refused() {
    let link = |name: &str, to: &str| Item::link(name.as_bytes(), to.as_bytes());
    check([link("l", "/etc/passwd")], EntryRule::LinkLeaves);
    check([link("l", "../x")], EntryRule::LinkLeaves);
    check([link("d/l", "../../x")], EntryRule::LinkLeaves);
    check([link("l", "l")], EntryRule::LinkLeaves);
    check([link("l", "a\0b")], EntryRule::LinkTarget);
    check([link("l", "")], EntryRule::LinkTarget);
    check([link("l", "."), file("l/x")], EntryRule::ThroughLink);
    check([file("l/x"), link("l", ".")], EntryRule::ThroughLink);
    // Each target is inside by its text; one after the other they lead out.
    let up = link("a/b/c/d", "../../..");
    check(
        [up, link("a/b/c/e", "d/../x"), file("a/f")],
        EntryRule::LinkLeaves,
    );
}

#[test]
fn what_is_no_file_is_refused() {
    for mode in [0o020_644, 0o060_644, 0o010_644, 0o140_644] {
        let device = Item {
            mode,
            ..file("dev")
        };
        check([device], EntryRule::SpecialFile);
    }
    let mut extra = vec![0x0d, 0, 17, 0];
    extra.extend([0; 12]);
    extra.extend(b"other");
    let hard = Item {
        central_extra: extra,
        ..file("hard")
    };
    check([hard], EntryRule::HardLink);
    let full = Item {
        mode: 0o040_755,
        ..file("d/")
    };
    check([full], EntryRule::FolderWithData);
}

#[test]
fn encrypted_and_foreign_data_is_refused() {
    for flags in [1, 0x41, 0x2000] {
        let secret = Item { flags, ..file("s") };
        check([secret], EntryRule::Encrypted);
    }
    let method = Item {
        method: 14,
        ..file("m")
    };
    check([method], EntryRule::Method { method: 14 });
}

#[test]
fn data_that_is_not_what_it_says_is_refused() {
    let good = Item::deflated(b"f", &[b'x'; 5000]);
    let wrong = |change: fn(&mut Item)| {
        let mut item = good.clone();
        change(&mut item);
        [item]
    };
    check(wrong(|i| i.crc ^= 1), EntryRule::Checksum);
    check(wrong(|i| i.bytes -= 1), EntryRule::Length);
    check(wrong(|i| i.bytes += 1), EntryRule::Length);
    check(wrong(|i| i.bytes = 1 << 19), EntryRule::Ratio);
    check(wrong(|i| i.data[0] = 0xff), EntryRule::Corrupt);
    check(
        wrong(|i| {
            i.data.extend(b"hidden");
            i.packed += 6;
        }),
        EntryRule::Length,
    );
    check(
        wrong(|i| {
            i.data.truncate(i.data.len() - 2);
            i.packed -= 2;
        }),
        EntryRule::Corrupt,
    );
    let stored = Item {
        bytes: 7,
        ..file("s")
    };
    check([stored], EntryRule::Length);
}

#[test]
fn headers_that_contradict_the_directory_are_refused() {
    let wrong = |change: fn(&mut Item)| {
        let mut item = Item::deflated(b"f", b"hello hello hello");
        change(&mut item);
        [item]
    };
    check(wrong(|i| i.local_name = b"g".into()), EntryRule::Header);
    check(
        wrong(|i| i.local_sizes = Some([0, 1, 2])),
        EntryRule::Header,
    );
    // Bit 3 with nothing, or with lies, behind the data.
    let streamed = |trailer: Vec<u8>| Item {
        flags: 8,
        local_sizes: Some([0; 3]),
        trailer,
        ..Item::deflated(b"f", b"hello hello hello")
    };
    check([streamed(vec![])], EntryRule::Descriptor);
    check([streamed(vec![7; 16])], EntryRule::Descriptor);
    let right = streamed(vec![]);
    let mut trailer = 0x0807_4b50u32.to_le_bytes().to_vec();
    for word in [right.crc, right.packed, right.bytes] {
        trailer.extend(word.to_le_bytes());
    }
    let dir = tempfile::tempdir().unwrap();
    unpack_into(dir.path(), &zip([streamed(trailer)]), &LIMITS).unwrap();
}

#[test]
fn sizes_of_64_bits_are_read_and_their_lies_refused() {
    let data = b"hello";
    let wide = |packed: u64, bytes: u64| {
        let mut extra = vec![1, 0, 16, 0];
        extra.extend(bytes.to_le_bytes());
        extra.extend(packed.to_le_bytes());
        Item {
            packed: u32::MAX,
            bytes: u32::MAX,
            central_extra: extra.clone(),
            local_extra: extra,
            ..Item::file(b"f", data)
        }
    };
    let dir = tempfile::tempdir().unwrap();
    unpack_into(dir.path(), &zip([wide(5, 5)]), &LIMITS).unwrap();
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), data);
    check([wide(5, 6)], EntryRule::Length);
    check([wide(500_000, 500_000)], EntryRule::OutOfBounds);
    assert!(matches!(
        refusal(&zip([wide(u64::MAX, u64::MAX)])),
        ArchiveError::TooLarge { .. }
    ));
    let without = Item {
        packed: u32::MAX,
        ..file("f")
    };
    assert!(matches!(
        refusal(&zip([without])),
        ArchiveError::NotAnArchive { .. }
    ));
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let mut both = Zip::default();
    both.add(file("a"));
    both.add(Item {
        offset: Some(0),
        local_name: b"a".into(),
        ..file("b")
    });
    // The second's header is the first's, and has another name.
    assert!(matches!(
        refusal(&both.finish()),
        ArchiveError::Entry {
            rule: EntryRule::Header,
            ..
        }
    ));
    // A whole entry inside of the data of another.
    let inner = {
        let mut zip = Zip::default();
        zip.add(Item::file(b"in", b"x"));
        zip.bytes
    };
    let mut nested = Zip::default();
    nested.add(Item::file(b"out", &inner));
    nested.add(Item {
        offset: Some(30 + 3),
        ..Item::file(b"in", b"x")
    });
    assert!(matches!(
        refusal(&nested.finish()),
        ArchiveError::Entry {
            rule: EntryRule::Overlap,
            ..
        }
    ));
    let outside = Item {
        offset: Some(1 << 30),
        ..file("o")
    };
    check([outside], EntryRule::OutOfBounds);
}

#[test]
fn too_much_is_refused_before_anything_is_written() {
    let bomb: Vec<Item> = (0..5)
        .map(|n| Item::deflated(format!("z{n}").as_bytes(), &vec![0; 1 << 18]))
        .collect();
    assert_eq!(
        refusal(&zip(bomb)),
        ArchiveError::TooLarge {
            limit_bytes: 1 << 20
        }
    );
    let many = (0..101).map(|n| Item::file(format!("f{n}").as_bytes(), b""));
    assert_eq!(
        refusal(&zip(many)),
        ArchiveError::TooManyEntries { limit: 100 }
    );
    // Twenty entries whose paths name a hundred folders and more.
    let deep = (0..20).map(|n| Item::file(format!("{n}/a/b/c/d/e/f").as_bytes(), b""));
    assert_eq!(
        refusal(&zip(deep)),
        ArchiveError::TooManyEntries { limit: 100 }
    );
}

#[test]
fn a_million_entries_are_refused_by_their_number_alone() {
    // A 64-bit end record that says a million, and no directory behind it.
    let mut zip = Vec::new();
    zip.extend(0x0606_4b50u32.to_le_bytes());
    zip.extend(44u64.to_le_bytes());
    zip.extend([0; 12]);
    for word in [1_000_000u64, 1_000_000, 0, 0] {
        zip.extend(word.to_le_bytes());
    }
    zip.extend(0x0706_4b50u32.to_le_bytes());
    zip.extend([0; 4]);
    zip.extend(0u64.to_le_bytes());
    zip.extend(1u32.to_le_bytes());
    zip.extend(0x0605_4b50u32.to_le_bytes());
    zip.extend([0, 0, 0, 0]);
    zip.extend([0xff; 12]);
    zip.extend([0, 0]);
    assert_eq!(refusal(&zip), ArchiveError::TooManyEntries { limit: 100 });
}

#[test]
fn a_cut_or_foreign_file_is_no_archive() {
    let whole = zip([file("a"), file("b")]);
    for cut in 0..whole.len() {
        let found = refusal(&whole[..cut]);
        assert!(
            matches!(found, ArchiveError::NotAnArchive { .. }),
            "{cut}: {found:?}"
        );
    }
    let mut behind = whole.clone();
    behind.extend(b"more");
    let found = refusal(&behind);
    assert!(matches!(found, ArchiveError::NotAnArchive { .. }));
    let mut before = b"#!/bin/sh\n".to_vec();
    before.extend(&whole);
    let found = refusal(&before);
    assert!(matches!(found, ArchiveError::Contradiction { .. }));
    refusal(b"");
    refusal(&[0x50; 70_000]);
}

fn corpus() -> Vec<u8> {
    zip([
        Item::folder(b"d/"),
        Item::deflated(b"d/a.txt", &[b'x'; 2000]),
        Item::link(b"d/l", b"a.txt"),
        file("app.py"),
        file("e/f/g"),
    ])
}

proptest! {
    /// Whatever bytes are changed, nothing panics and nothing is written outside.
    #[test]
    fn a_mutated_archive_stays_inside(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        cuts in prop::bool::weighted(0.2),
    ) {
        let mut bytes = corpus();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let _ = unpack_into(&inside, &bytes, &LIMITS);
        let beside: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        prop_assert_eq!(beside.len(), 1);
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        let _ = unpack_into(dir.path(), &bytes, &LIMITS);
    }
}
