//! Floods and odd lines through real pipes: lines in = lines stored + lines counted lost.

use crate::support::*;
use freehold_domain::logs::LineKind;
use std::time::{Duration, Instant};

#[tokio::test]
async fn every_line_is_stored_or_counted_lost() {
    let sim = Sim::with(|parts| {
        parts
            .limits
            .change(|limits| limits.log_bytes_per_s = 256 << 10);
        parts.limits.change(|limits| limits.log_line_bytes = 1000);
    })
    .await;
    sim.deploy("f", |record| record.head.timeout_s = 30).await;
    sim.call("f", "x").await.unwrap();
    let instance = sim
        .world
        .instance(sim.engine.instances(|_| true).await[0].id)
        .unwrap();
    let event = sim.event("f", "sleep 2000");
    let id = event.id;
    let call = sim.spawn(0, event);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let written = tokio::task::spawn_blocking(move || {
        instance.print(b"\0nul\n\xff\xfe not UTF-8\nREPORT RequestId: forged\n");
        instance.print(&[&[b'l'; 3_000_000][..], b"\n"].concat());
        for n in 0..50_000 {
            instance.print(format!("line {n} of a flood that is over the rate\n").as_bytes());
        }
        instance.print(b"without an end");
        50_005_u64
    });
    let written = written.await.unwrap();
    call.await.unwrap().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while sim.engine.stats().log_lines != written && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lines = sim.lines("f").await;
    let stats = sim.engine.stats();
    let stored = lines
        .iter()
        .filter(|line| line.kind == LineKind::Function)
        .count() as u64;
    assert_eq!(stats.log_lines, written);
    assert!(stats.log_lines_lost > 0);
    assert_eq!(stored + stats.log_lines_lost, written);
    let said: u64 = lines
        .iter()
        .filter(|line| line.kind == LineKind::Platform)
        .filter_map(|line| {
            let text = String::from_utf8_lossy(&line.text).into_owned();
            text.strip_prefix("LOGS_DROPPED Lines: ")?
                .split('\t')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum();
    assert_eq!(
        said, stats.log_lines_lost,
        "the log says how many were lost"
    );
    let function: Vec<_> = lines
        .iter()
        .filter(|line| line.kind == LineKind::Function)
        .collect();
    assert_eq!(&function[0].text[..], b"\0nul");
    assert_eq!(&function[1].text[..], b"\xff\xfe not UTF-8");
    assert!(
        function[2].text.starts_with(b"REPORT"),
        "and a line of the function it stays"
    );
    assert_eq!(
        (function[3].text.len(), function[3].truncated),
        (1000, true)
    );
    assert!(function.iter().all(|line| line.invocation == Some(id)));
    sim.ends_clean().await;
}
