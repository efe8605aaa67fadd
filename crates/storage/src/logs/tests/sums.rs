//! What groups take, and what is counted.

use super::*;

/// The bytes of the lines of a group, from its files.
fn of_files(dir: &Path, of: &str) -> u64 {
    let heads = files(dir).into_iter().map(|number| {
        let head = header::read(&path(&dir.join("logs"), number));
        head.expect("reads").expect("a head")
    });
    let of_group = heads.filter(|head| head.name.group == group(of));
    of_group.map(|head| head.file_len - head.len).sum()
}

#[test]
fn the_sums_of_groups_are_those_of_their_files_whatever_is_done() {
    let mut random = fastrand::Rng::with_seed(19);
    let dir = tempfile::tempdir().expect("a folder");
    let mut logs = open_with(dir.path(), 0);
    let groups = ["a", "b", "c"];
    for round in 0..1500 {
        let of = groups[random.usize(..3)];
        let one = name(of, random.usize(..12));
        match random.u8(..100) {
            0..60 => log(&logs, &one, round),
            60..85 => logs.close(&one),
            85..92 => logs.streams.write().expect("written"),
            92..96 => {
                let before = Wall(round - random.i64(0..60));
                logs.expire(&who(), &group(of), before).expect("removed");
            }
            96 => logs.remove_group(&who(), &group(of)).expect("removed"),
            97 => {
                drop(logs);
                logs = open_with(dir.path(), 0);
            }
            98 => {
                drop(logs);
                fs::remove_file(dir.path().join("logs.db")).expect("removed");
                logs = open_with(dir.path(), 0);
            }
            _ => {
                lines(&logs, &one);
            }
        }
        assert_eq!(bytes(&logs, of), of_files(dir.path(), of), "round {round}");
    }
    for of in groups {
        log(&logs, &name(of, 0), 2000);
    }
    logs.streams.write().expect("written");
    let stats = logs.index_stats();
    assert_eq!(stats.indexed, files(dir.path()).len() as u64);
    assert!(stats.held <= stats.indexed, "{stats:?}");
    assert_eq!((stats.writes_failed, stats.rebuilds), (0, 0));
}
