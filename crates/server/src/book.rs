//! Tables of the book that are written from the code: for tests.

use std::{fs, path::Path};

/// Fails unless the page of `docs/book` has what was made between the lines that `begin` and `end` it;
/// with `FREEHOLD_BLESS=1` it is written there.
pub fn check_table(page: &str, [begin, end]: [&str; 2], made: &str) {
    let path = Path::new("../../docs/book").join(page);
    let book = fs::read_to_string(&path).unwrap();
    let (before, rest) = book.split_once(begin).expect("the table's begin");
    let (_, after) = rest.split_once(end).expect("and its end");
    let made = format!("{before}{begin}{made}{end}{after}");
    if std::env::var_os("FREEHOLD_BLESS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == made,
        "{path:?} is not as the code has it: see the head of this test"
    );
}
