use bytes::Bytes;
use freehold_domain::ports::{Ledger, Storage};
use std::sync::Arc;

/// The ledger: lanes of their own, frames as they were written, positions that go on.
pub async fn ledger_suite(make: impl Fn() -> Arc<dyn Storage>) {
    let store = make();
    assert_eq!(store.lanes().await, Ok(vec![]));
    assert_eq!(Ledger::read(&*store, 3, 0, 10).await, Ok((vec![], 0)));
    let frame = |lane: u16, n: u32| -> Bytes {
        let size = (n as usize * 37) % 500;
        let mut frame = format!("lane {lane} frame {n} ").into_bytes();
        frame.resize(frame.len() + size, b'x');
        frame.into()
    };
    std::thread::scope(|scope| {
        for lane in [0, 3] {
            let store = &store;
            scope.spawn(move || {
                for n in 0..500 {
                    Ledger::append(&**store, lane, &frame(lane, n)).expect("appended");
                }
            });
        }
    });
    assert_eq!(store.lanes().await, Ok(vec![0, 3]));
    for lane in [0, 3] {
        let (mut position, mut found) = (0, Vec::new());
        loop {
            let page = Ledger::read(&*store, lane, position, 7).await;
            let (frames, after) = page.expect("reads");
            assert!(frames.len() <= 7);
            if frames.is_empty() {
                assert_eq!(after, position, "the end stays where it is");
                break;
            }
            assert!(after > position);
            position = after;
            found.extend(frames);
        }
        let expected: Vec<_> = (0..500).map(|n| frame(lane, n)).collect();
        assert_eq!(found, expected, "lane {lane}");
        Ledger::append(&*store, lane, b"").expect("appended");
        let (more, _) = Ledger::read(&*store, lane, position, 7)
            .await
            .expect("reads");
        assert_eq!(more, [Bytes::new()], "a position goes on where it stood");
    }
}
