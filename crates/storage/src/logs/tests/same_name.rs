//! A name that came again while the index did not answer.

use super::*;

/// Ten streams of the group "g", of which the third came again with another line, in file 11.
fn with_one_twice() -> TempDir {
    let dir = with_closed(10);
    let logs = open_with(dir.path(), 0);
    logs.streams.learn_names();
    {
        let _alone = logs.streams.alone();
        logs.streams.index.withdraw();
        log(&logs, &name("g", 2), 70);
        logs.close(&name("g", 2));
        logs.streams.backlog.mend(Instant::now(), true);
    }
    wait_for("an index", || {
        logs.streams(&who(), &group("g"), "", None, 1).is_ok()
    });
    check_twice(&logs);
    drop(logs);
    dir
}

fn older() -> LogStreamName {
    LogStreamName {
        group: group("g"),
        stream: "s00002~3".to_owned(),
    }
}

fn check_twice(logs: &LogFiles) {
    let mut expected: Vec<String> = (0..10).map(|n| name("g", n).stream).collect();
    expected.insert(3, older().stream);
    assert_eq!(names(logs, "g"), expected);
    assert_eq!(lines(logs, &name("g", 2)), [70], "the newest has the name");
    assert_eq!(lines(logs, &older()), [2]);
}

#[test]
fn both_files_are_listed_whatever_becomes_of_the_index() {
    let dir = with_one_twice();
    check_twice(&open(dir.path()));
    fs::remove_file(dir.path().join("logs.db")).expect("removed");
    let logs = open(dir.path());
    check_twice(&logs);
    let of_files = files(dir.path()).into_iter().map(|number| {
        let head = header::read(&path(&dir.path().join("logs"), number));
        let head = head.expect("reads").expect("a head");
        head.file_len - head.len
    });
    assert_eq!(bytes(&logs, "g"), of_files.sum::<u64>());
    // More comes to the newer one.
    log(&logs, &name("g", 2), 71);
    assert_eq!(lines(&logs, &name("g", 2)), [70, 71]);
    assert_eq!(files(dir.path()).len(), 11);
}

#[test]
fn each_of_them_expires_by_itself() {
    let dir = with_one_twice();
    let logs = open(dir.path());
    assert_eq!(logs.expire(&who(), &group("g"), Wall(5)), Ok(5));
    assert_eq!(lines(&logs, &name("g", 2)), [70]);
    assert_eq!(names(&logs, "g").len(), 6);
    assert_eq!(logs.expire(&who(), &group("g"), Wall(100)), Ok(6));
    assert_eq!(files(dir.path()), BTreeSet::new());
}

#[test]
fn a_name_that_was_given_is_nobody_elses() {
    let dir = with_closed(1);
    let logs = open(dir.path());
    let long = "x".repeat(512);
    let put = |number: u64, stream: &str| {
        let name = LogStreamName {
            group: group("h"),
            stream: stream.to_owned(),
        };
        let bytes = header::encode(&name, Wall(1)).expect("encoded");
        let file = path(&dir.path().join("logs"), number);
        fs::write(file, bytes).expect("written");
    };
    // Of each name the highest number has it, and what the others would be called is taken.
    for (number, stream) in [
        (100, "a"),
        (101, "a~100"),
        (102, "a"),
        (103, &*long),
        (104, &*long),
    ] {
        put(number, stream);
    }
    drop(logs);
    fs::remove_file(dir.path().join("logs.db")).expect("removed");
    let logs = open(dir.path());
    let cut = format!("{}~103", &long[..508]);
    let found: BTreeSet<_> = names(&logs, "h").into_iter().collect();
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(
        ["a", "a~100", &cut, &long]
            .iter()
            .all(|name| found.contains(*name)),
        "{found:?}"
    );
    for name in found {
        assert!(name.len() <= 512);
        let name = LogStreamName {
            group: group("h"),
            stream: name,
        };
        assert!(lines(&logs, &name).is_empty(), "it is read");
    }
}
