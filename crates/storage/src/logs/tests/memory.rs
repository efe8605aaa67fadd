//! What is in memory.

use super::*;

#[test]
fn memory_does_not_grow_with_streams_that_were_closed() {
    const CACHED: usize = 64 << 10;
    let dir = tempfile::tempdir().expect("a folder");
    let logs = open_with(dir.path(), CACHED);
    for n in 0..20_000 {
        log(&logs, &name("g", n), n as i64);
        if n % 1000 != 0 {
            logs.close(&name("g", n));
        }
    }
    logs.streams.write().expect("written");
    let bounded = |logs: &LogFiles| {
        let (held, cached) = logs.streams.held.count();
        assert!(cached <= CACHED, "{cached} bytes");
        // None takes less than that.
        let most = 20 + CACHED / size_of::<Stream>();
        assert!((20..most).contains(&held), "{held} streams");
    };
    bounded(&logs);
    check_closed(&logs, 20_000);
    let bytes = logs.group_bytes(&who(), &group("g")).expect("sums");
    for n in (0..20_000).step_by(7) {
        assert_eq!(lines(&logs, &name("g", n)), [n as i64]);
    }
    bounded(&logs);
    assert_eq!(logs.group_bytes(&who(), &group("g")), Ok(bytes));
    assert_eq!(bytes % 20_000, 0, "all are of one length: {bytes}");
}

#[test]
fn new_names_are_not_looked_up_and_known_ones_go_on_in_their_files() {
    let dir = with_closed(200);
    let logs = open_with(dir.path(), 0);
    logs.streams.learn_names();
    for n in 200..400 {
        assert!(!logs.streams.held.left().may_know(&name("g", n)), "{n}");
        log(&logs, &name("g", n), n as i64);
        logs.close(&name("g", n));
    }
    logs.streams.write().expect("written");
    assert_eq!(logs.streams.held.count().0, 0, "all have left");
    for n in 0..400 {
        assert!(logs.streams.held.left().may_know(&name("g", n)), "{n}");
        log(&logs, &name("g", n), 1000);
        assert_eq!(lines(&logs, &name("g", n)), [n as i64, 1000]);
    }
    assert_eq!(files(dir.path()).len(), 400);
}

#[test]
fn what_cannot_be_written_down_is_not_kept_in_memory_for_having_been_read() {
    const CACHED: usize = 64 << 10;
    let dir = with_closed(4000);
    fs::remove_file(dir.path().join("logs.db")).expect("removed");
    let logs = open_with(dir.path(), CACHED);
    logs.streams.index.refuse_writes(true);
    // As many as they like may be waiting to be written for the first time.
    for n in 0..1500 {
        log(&logs, &name("new", n), 1);
    }
    let held = |logs: &LogFiles| logs.streams.held.count().0 - 1500;
    let most = CACHED / size_of::<Stream>() + 1024;
    assert_eq!(logs.expire(&who(), &group("g"), Wall(0)), Ok(0));
    assert!(held(&logs) < most, "{} of {most}", held(&logs));
    check_closed(&logs, 4000);
    logs.streams.write().expect_err("refused");
    assert!(held(&logs) < most, "{} of {most}", held(&logs));
    assert!(logs.index_stats().writes_failed >= 2);
    logs.streams.index.refuse_writes(false);
    check_closed(&logs, 4000);
    logs.streams.write().expect("written");
    logs.close(&name("new", 3));
    check_closed(&logs, 4000);
    assert_eq!(names(&logs, "new").len(), 1500);
}

#[test]
fn descriptors_of_lines_that_were_not_written_are_given_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mounted(dir.path()) else {
        return;
    };
    let logs = open(dir.path());
    for n in 0..40 {
        log(&logs, &name("g", n), 1);
        logs.close(&name("g", n));
    }
    disk.fill();
    let long = LogLine {
        text: vec![b'x'; 8192].into(),
        ..line(9)
    };
    for n in 0..40 {
        let refused = logs.append(&name("g", n), std::slice::from_ref(&long));
        assert_eq!(refused, Err(CommitError::DiskFull));
    }
    let open = fs::read_dir("/proc/self/fd").expect("listed").flatten();
    let here = dir.path().join("logs");
    let open = open.filter_map(|fd| fs::read_link(fd.path()).ok());
    assert_eq!(open.filter(|path| path.starts_with(&here)).count(), 0);
    drop(logs);
}

#[test]
fn a_stream_stays_in_memory_until_its_row_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    // What may leave does so at once.
    let logs = open_with(dir.path(), 0);
    {
        let alone = logs.streams.alone();
        log(&logs, &name("g", 0), 7);
        logs.close(&name("g", 0));
        let batch = logs.streams.backlog.take().expect("one waits");
        let stream = batch.streams[0].clone();
        let (_, was) = stream.take_row().expect("it is there");
        // Somebody is done with it while its row is on its way, which it does not reach.
        logs.used(&stream);
        assert_eq!(lines(&logs, &name("g", 0)), [7]);
        assert!(stream.not_written(was) && !stream.is_gone());
        logs.streams.backlog.put_back(batch.streams, batch.gone);
        drop(alone);
    }
    logs.streams.write().expect("written");
    assert_eq!(logs.streams.held.count().0, 0, "now it has left");
    assert_eq!(lines(&logs, &name("g", 0)), [7]);
    drop(logs);
    let logs = open(dir.path());
    assert_eq!((list(&logs, "g").len(), files(dir.path()).len()), (1, 1));
}
