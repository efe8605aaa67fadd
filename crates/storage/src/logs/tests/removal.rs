//! Groups that are removed, streams that expire.

use super::*;

#[test]
fn removal_is_finished_wherever_a_kill_cuts_it() {
    let dir = with_closed(4);
    let logs = open(dir.path());
    logs.streams.index.begin_removal(&[2, 3]).expect("begun");
    let noted = killed(dir.path());
    fs::remove_file(path(&dir.path().join("logs"), 2)).expect("removed");
    let half = killed(dir.path());
    for left in [noted, half] {
        let logs = open(left.path());
        let found: Vec<_> = list(&logs, "g").into_iter().map(|info| info.name).collect();
        assert_eq!(found, ["s00000", "s00003"]);
        assert_eq!(files(left.path()), BTreeSet::from([1, 4]));
    }
}

#[test]
fn a_removal_that_fails_half_way_takes_no_later_line_with_it() {
    let dir = with_closed(3);
    let logs = open(dir.path());
    // All are in memory, and their rows wait.
    for number in 0..3 {
        log(&logs, &name("g", number), 50);
    }
    let stays = path(&dir.path().join("logs"), 1);
    fs::remove_file(&stays).expect("removed");
    fs::create_dir(&stays).expect("what is no file is not removed");
    let error = logs.remove_group(&who(), &group("g")).expect_err("said");
    assert!(
        error.to_string().contains(stays.to_str().expect("text")),
        "{error}"
    );
    fs::remove_dir(&stays).expect("removed");
    assert_eq!(files(dir.path()), BTreeSet::new(), "the others went");
    logs.streams.write().expect("written");
    // A line of the same name belongs to nothing that is to go.
    for number in 0..3 {
        log(&logs, &name("g", number), 90);
        logs.close(&name("g", number));
    }
    drop(logs);
    let logs = open(dir.path());
    for number in 0..3 {
        assert_eq!(lines(&logs, &name("g", number)), [90]);
    }
}

#[test]
fn a_group_goes_with_its_files_its_rows_and_empty_folders() {
    let dir = with_closed(1100);
    let logs = open_with(dir.path(), 0);
    log(&logs, &name("g", 9), 9);
    log(&logs, &name("h", 0), 1);
    logs.remove_group(&who(), &group("g")).expect("removed");
    assert!(list(&logs, "g").is_empty());
    assert_eq!(logs.group_bytes(&who(), &group("g")), Ok(0));
    assert!(lines(&logs, &name("g", 9)).is_empty());
    assert_eq!(files(dir.path()), BTreeSet::from([1101]));
    assert!(!dir.path().join("logs/0").exists());
    // A name that was removed is made anew.
    log(&logs, &name("g", 9), 10);
    logs.close(&name("g", 9));
    drop(logs);
    let logs = open(dir.path());
    assert_eq!(lines(&logs, &name("g", 9)), [10]);
    assert_eq!(files(dir.path()), BTreeSet::from([1101, 1102]));
}

#[test]
fn streams_expire_by_their_rows_and_unread_ones_by_their_lines() {
    let dir = with_closed(50);
    let logs = open_with(dir.path(), 0);
    // One that ended before goes on.
    log(&logs, &name("g", 3), 40);
    for number in 1..=10 {
        // Their rows are enough.
        if number != 4 {
            spoil(dir.path(), number);
        }
    }
    assert_eq!(logs.expire(&who(), &group("g"), Wall(10)), Ok(9));
    assert_eq!(list(&logs, "g").len(), 41);
    logs.close(&name("g", 3));
    drop(logs);
    fs::remove_file(dir.path().join("logs.db")).expect("removed");
    let logs = open_with(dir.path(), 0);
    assert_eq!(logs.expire(&who(), &group("g"), Wall(20)), Ok(10));
    assert_eq!(logs.expire(&who(), &group("g"), Wall(20)), Ok(0));
    // 20 to 49, and the one that went on.
    assert_eq!(list(&logs, "g").len(), 31);
    assert_eq!(files(dir.path()).len(), 31);
}

#[test]
fn lines_that_come_during_removals_are_in_streams_that_can_be_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let logs = open_with(dir.path(), 0);
    let write = |thread: usize| {
        for round in 0..1500 {
            let name = name("g", (round * 7 + thread) % 40);
            log(&logs, &name, round as i64);
            if round % 3 == 0 {
                logs.close(&name);
            }
        }
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|thread| scope.spawn(move || write(thread)))
            .collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            logs.remove_group(&who(), &group("g")).expect("removed");
            logs.streams.write().expect("written");
        }
    });
    for n in 0..40 {
        let before = lines(&logs, &name("g", n)).len();
        log(&logs, &name("g", n), 5000);
        assert_eq!(lines(&logs, &name("g", n)).len(), before + 1);
    }
    assert_eq!(list(&logs, "g").len(), 40);
    assert_eq!(files(dir.path()).len(), 40, "no file without a stream");
    drop(logs);
    let logs = open(dir.path());
    assert_eq!(list(&logs, "g").len(), 40);
    assert_eq!(files(dir.path()).len(), 40);
}
