//! An index that cannot be written.

use super::*;

#[test]
fn an_index_that_cannot_be_written_costs_no_line() {
    let dir = with_closed(3);
    let logs = open(dir.path());
    logs.streams.index.refuse_writes(true);
    log(&logs, &name("g", 1), 80);
    log(&logs, &name("g", 3), 3);
    logs.close(&name("g", 3));
    log(&logs, &name("h", 0), 4);
    logs.streams.write().expect_err("refused");
    let check = |logs: &LogFiles| {
        let found: Vec<_> = list(logs, "g").iter().map(|info| info.lines).collect();
        assert_eq!(found, [1, 2, 1, 1]);
        assert_eq!(lines(logs, &name("h", 0)), [4]);
    };
    check(&logs);
    check(&open(killed(dir.path()).path()));
    // Files are removed all the same: they may be what fills the disk.
    let error = logs.remove_group(&who(), &group("g")).expect_err("said");
    assert!(error.to_string().contains("logs.db"), "{error}");
    assert_eq!(files(dir.path()), BTreeSet::from([5]));
    assert!(list(&open(killed(dir.path()).path()), "g").is_empty());
    logs.streams.index.refuse_writes(false);
    logs.streams.write().expect("written");
    assert!(list(&logs, "g").is_empty());
    let left = killed(dir.path());
    spoil(left.path(), 5);
    let logs = open(left.path());
    assert_eq!(
        logs.streams(&who(), &group("h"), "", None, 9)
            .map(|found| found.len()),
        Ok(1),
        "it is believed again"
    );
}
