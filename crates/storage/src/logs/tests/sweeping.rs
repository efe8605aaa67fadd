//! Files without a row, rows without a file, rows that a file contradicts.

use super::*;

#[test]
fn a_file_without_a_row_is_listed_and_a_row_without_a_file_is_not() {
    let dir = with_closed(1200);
    let logs = open_with(dir.path(), 0);
    let file = |number| path(&dir.path().join("logs"), number);
    let before = bytes(&logs, "g");
    // Somebody moves a stream to a free number in another folder, and brings a strange one.
    fs::rename(file(5), file(1900)).expect("moved");
    fs::write(dir.path().join("logs/1/notes.txt"), "not a log").expect("written");
    fs::write(file(1901), "no head").expect("written");
    let swept = |logs: &LogFiles| {
        assert_eq!(logs.streams.sweep(0), Some(1));
        assert_eq!(logs.streams.sweep(1), Some(2));
        assert_eq!(logs.streams.sweep(2), None);
    };
    swept(&logs);
    // Numbers that nobody has taken yet are those of streams to come.
    assert_eq!(names(&logs, "g").len(), 1199);
    drop(logs);
    fs::rename(file(1900), file(5)).expect("moved");
    fs::remove_file(file(1901)).expect("removed");
    let logs = open_with(dir.path(), 0);
    swept(&logs);
    check_closed(&logs, 1200);
    assert_eq!(bytes(&logs, "g"), before);
    fs::remove_file(file(7)).expect("removed");
    fs::remove_dir_all(dir.path().join("logs/1")).expect("removed");
    swept(&logs);
    assert_eq!(names(&logs, "g").len(), 998);
    assert_eq!(logs.index_stats().indexed, 998);
    assert_eq!(bytes(&logs, "g"), before / 1200 * 998);
    assert_eq!(logs.streams.sweep(1), None);
}

#[test]
fn what_is_open_or_on_its_way_is_left_alone() {
    let dir = with_closed(3);
    let logs = open(dir.path());
    let alone = logs.streams.alone();
    // Its row waits.
    log(&logs, &name("g", 3), 3);
    let turn = logs.streams.making.begin(&name("g", 4)).expect("free");
    let file = path(&dir.path().join("logs"), turn.number);
    let head = header::encode(&name("g", 4), Wall(4)).expect("encoded");
    fs::write(&file, head).expect("written");
    drop(alone);
    logs.streams.sweep(0);
    logs.streams.write().expect("written");
    assert_eq!(names(&logs, "g").len(), 4, "it is not known yet");
    drop(turn);
    logs.streams.sweep(0);
    assert_eq!(names(&logs, "g").len(), 5, "nobody is making it any more");
}

#[test]
fn what_expires_was_looked_at() {
    let dir = with_closed(10);
    let logs = open_with(dir.path(), 0);
    let file = |number| path(&dir.path().join("logs"), number);
    // One has a line more than its row says, one has lost its own, one its file.
    let mut longer = fs::read(file(3)).expect("read");
    line::push(&mut longer, &line(90), Wall(9));
    fs::write(file(3), longer).expect("written");
    let head = header::encode(&name("g", 3), Wall(50)).expect("encoded");
    fs::write(file(4), head).expect("written");
    fs::remove_file(file(5)).expect("removed");
    assert_eq!(logs.expire(&who(), &group("g"), Wall(10)), Ok(8));
    assert_eq!(names(&logs, "g"), ["s00002"]);
    assert_eq!(lines(&logs, &name("g", 2)), [2, 90]);
    assert_eq!(files(dir.path()), BTreeSet::from([3]));
    assert_eq!(logs.expire(&who(), &group("g"), Wall(91)), Ok(1));
    assert_eq!(logs.index_stats().indexed, 0);
}
