//! What a start reads, and what a crash leaves behind.

use super::*;

#[test]
fn a_start_reads_no_file_that_the_index_knows() {
    let dir = with_closed(2500);
    for number in 1..=2500 {
        spoil(dir.path(), number);
    }
    let logs = open(dir.path());
    check_closed(&logs, 2500);
    log(&logs, &name("g", 2500), 2500);
    assert_eq!(files(dir.path()).last(), Some(&2501));
    drop(logs);
    check_closed(&open(dir.path()), 2501);
}

#[test]
fn an_index_that_cannot_be_believed_is_made_again_from_the_files() {
    let dir = with_closed(30);
    let index = |dir: &Path| dir.join("logs.db");
    let lock = |dir: &Path, text: &str| fs::write(dir.join("lock"), text).expect("written");
    type Harm<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Harm<'_>); 7] = [
        ("deleted", &|dir| {
            fs::remove_file(index(dir)).expect("removed");
        }),
        ("empty", &|dir| fs::write(index(dir), "").expect("written")),
        ("garbage", &|dir| {
            fs::write(index(dir), [0xa5; 9000]).expect("written");
        }),
        ("cut", &|dir| {
            let file = OpenOptions::new().write(true).open(index(dir));
            let file = file.expect("opens");
            let len = file.metadata().expect("read").len();
            file.set_len(len / 2 / 4096 * 4096).expect("cut");
        }),
        ("garbage behind the first page", &|dir| {
            let mut bytes = fs::read(index(dir)).expect("read");
            bytes[4096..].fill(0xa5);
            fs::write(index(dir), bytes).expect("written");
        }),
        ("not vouched for", &|dir| lock(dir, "4711\n")),
        ("another one's", &|dir| {
            lock(dir, &format!("{:<31}\n{:016x}\n", 4711, 12));
        }),
    ];
    for (case, harm) in cases {
        let dir = killed(dir.path());
        harm(dir.path());
        let logs = open(dir.path());
        check_closed(&logs, 30);
        drop(logs);
        for number in 1..=30 {
            spoil(dir.path(), number);
        }
        // And is believed from then on.
        let logs = open(dir.path());
        assert_eq!(list(&logs, "g").len(), 30, "{case}");
    }
}

#[test]
fn what_a_kill_keeps_from_the_index_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    let logs = open(dir.path());
    log(&logs, &name("g", 0), 0);
    logs.streams.write().expect("written");
    let alone = logs.streams.alone();
    // In the index as one that is open.
    log(&logs, &name("g", 0), 1);
    // Unknown to the index, open and closed.
    log(&logs, &name("g", 1), 2);
    log(&logs, &name("g", 2), 3);
    logs.close(&name("g", 2));
    let left = killed(dir.path());
    drop(alone);
    let after = open(left.path());
    let found: Vec<_> = list(&after, "g").iter().map(|info| info.lines).collect();
    assert_eq!(found, [2, 1, 1]);
    let bytes = after.group_bytes(&who(), &group("g"));
    assert_eq!(bytes, logs.group_bytes(&who(), &group("g")));
    log(&after, &name("g", 3), 4);
    assert_eq!(files(left.path()), BTreeSet::from([1, 2, 3, 4]));
}

#[test]
fn a_line_after_the_close_is_in_the_index_or_the_index_is_not_believed() {
    let dir = with_closed(3);
    let logs = open(dir.path());
    let alone = logs.streams.alone();
    log(&logs, &name("g", 1), 70);
    let at_once = killed(dir.path());
    drop(alone);
    logs.streams.write().expect("written");
    let while_open = killed(dir.path());
    logs.close(&name("g", 1));
    logs.streams.write().expect("written");
    let closed_again = killed(dir.path());
    for (left, is_believed) in [(at_once, false), (while_open, true), (closed_again, true)] {
        if is_believed {
            spoil(left.path(), 1);
        }
        let logs = open(left.path());
        let found: Vec<_> = list(&logs, "g").iter().map(|info| info.lines).collect();
        assert_eq!(found, [1, 2, 1]);
        assert_eq!(lines(&logs, &name("g", 1)), [1, 70]);
    }
}

#[test]
fn what_a_release_without_an_index_did_is_found() {
    let dir = with_closed(5);
    // It takes the folder, appends to a stream, removes the newest and takes its number again.
    fs::write(dir.path().join("lock"), "4711\n").expect("written");
    let file = |n| path(&dir.path().join("logs"), n);
    let mut longer = fs::read(file(1)).expect("read");
    line::push(&mut longer, &line(90), Wall(9));
    fs::write(file(1), longer).expect("written");
    fs::remove_file(file(5)).expect("removed");
    let mut other = header::encode(&name("h", 0), Wall(3)).expect("encoded");
    line::push(&mut other, &line(91), Wall(9));
    fs::write(file(5), other).expect("written");
    let logs = open(dir.path());
    let found: Vec<_> = list(&logs, "g").iter().map(|info| info.lines).collect();
    assert_eq!(found, [2, 1, 1, 1]);
    assert_eq!(lines(&logs, &name("g", 0)), [0, 90]);
    assert_eq!(lines(&logs, &name("h", 0)), [91]);
    assert!(lines(&logs, &name("g", 4)).is_empty());
}

#[test]
fn a_stream_whose_file_took_long_to_make_is_found_after_a_kill() {
    let dir = with_closed(3);
    let logs = open_with(dir.path(), 0);
    // The disk takes its time with one, and others wait neither for it nor behind it.
    let turn = logs.streams.making.begin(&name("slow", 0)).expect("free");
    for n in 3..1500 {
        log(&logs, &name("g", n), n as i64);
        logs.close(&name("g", n));
    }
    logs.streams.write().expect("written");
    check_closed(&logs, 1500);
    let mut file = header::encode(&name("slow", 0), Wall(3)).expect("encoded");
    line::push(&mut file, &line(9), Wall(9));
    fs::write(path(&dir.path().join("logs"), turn.number), file).expect("written");
    let left = killed(dir.path());
    let again = open(left.path());
    assert_eq!(lines(&again, &name("slow", 0)), [9]);
    check_closed(&again, 1500);
    drop(turn);
    // Its folder is not removed under it either.
    let turn = logs.streams.making.begin(&name("slow", 1)).expect("free");
    for n in 1500..3000 {
        log(&logs, &name("g", n), n as i64);
    }
    logs.remove_group(&who(), &group("g")).expect("removed");
    assert!(
        path(&dir.path().join("logs"), turn.number)
            .parent()
            .expect("has one")
            .exists()
    );
}

#[test]
fn an_index_that_is_finished_has_every_row_though_the_store_is_never_dropped() {
    let dir = tempfile::tempdir().expect("a folder");
    let logs = std::mem::ManuallyDrop::new(open(dir.path()));
    log(&logs, &name("g", 0), 7);
    logs.finish();
    let log_of_writes = dir.path().join("logs.db-wal");
    assert_eq!(fs::metadata(log_of_writes).map_or(0, |file| file.len()), 0);
    let left = killed(dir.path());
    // Who reads the file for it is found out.
    spoil(left.path(), 1);
    let again = open(left.path());
    assert_eq!(names(&again, "g"), [name("g", 0).stream]);
    // A line that comes all the same is stored, and twice finished is once.
    log(&logs, &name("g", 0), 8);
    logs.finish();
    assert_eq!(
        lines(&open(killed(dir.path()).path()), &name("g", 0)),
        [7, 8]
    );
}
