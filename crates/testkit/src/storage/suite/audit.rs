use super::{platform, root, tenant};
use freehold_domain::{
    Principal, TenantId, Wall,
    audit::{Asker, AuditLane, AuditLine, AuditResult, AuditText},
    ports::{AuditPage, AuditQuery, AuditRetention, CommitError, ReadError, Storage},
};
use std::sync::Arc;

/// Lines of the suite.
const LINES: i64 = 300;
/// Between two of them, µs.
const APART: i64 = 600_000_000;

/// The audit trail: lines in order, whose they are, pages that join, old ones that go.
pub async fn audit_suite(make: impl Fn() -> Arc<dyn Storage>) {
    pages_join_and_go_on(&*make()).await;
    every_filter_leaves_out_the_rest(&*make()).await;
    one_account_reads_nothing_of_another(&*make()).await;
    the_old_goes_and_the_new_stays(&*make()).await;
    what_others_write_changes_no_page_of_an_account(&*make(), &*make()).await;
    the_most_goes_for_want_of_room(&*make()).await;
    who_writes_most_loses_its_own_lines_alone(&*make()).await;
    what_grows_says_when_a_trim_is_due(&*make()).await;
}

fn at(n: i64) -> Wall {
    Wall(n * APART)
}

/// Line `n`: of tenant 1, of tenant 2, of nobody, in turn; every fifth denied.
fn line(n: i64) -> AuditLine {
    let tenant = (n % 3 > 0).then(|| tenant(n as u64 % 3));
    let is_denied = n % 5 == 0;
    AuditLine {
        at: at(n),
        request: None,
        tenant: tenant.clone(),
        who: tenant.map_or(Asker::Nobody, |tenant| Asker::of(&root(&tenant))),
        proven: n % 3 > 0,
        source: AuditText::new("192.0.2.1"),
        action: AuditText::new(["test:CreateThing", "test:DeleteThing"][n as usize % 2]),
        resource: AuditText::new(&format!("thing {n} {}", "x".repeat(n as usize % 50))),
        result: match is_denied {
            true => AuditResult::Denied,
            false => AuditResult::Ok,
        },
        error: is_denied.then(|| AuditText::new("AccessDenied")),
        count: 1,
    }
}

async fn filled(store: &dyn Storage) -> Vec<AuditLine> {
    let lines: Vec<_> = (0..LINES).map(line).collect();
    for line in &lines {
        store.audit_append(line).expect("appended");
    }
    lines
}

async fn page(store: &dyn Storage, query: AuditQuery) -> AuditPage {
    let page = store.audit_lines(&platform(), query).await;
    let page = page.expect("reads");
    assert_eq!(page.gaps, Vec::<String>::new());
    page
}

/// Every line that a query finds, over as many pages as it takes, and the position behind them.
async fn all(store: &dyn Storage, who: &Principal, query: &AuditQuery) -> (Vec<AuditLine>, u64) {
    let (mut found, mut query) = (Vec::new(), query.clone());
    loop {
        let page = store.audit_lines(who, query.clone()).await.expect("reads");
        assert!(page.lines.len() <= query.limit);
        found.extend(page.lines);
        if !page.more {
            return (found, page.position);
        }
        assert!(page.position > query.position, "a page gets on");
        query.position = page.position;
    }
}

fn everything(limit: usize) -> AuditQuery {
    AuditQuery {
        limit,
        ..AuditQuery::default()
    }
}

async fn pages_join_and_go_on(store: &dyn Storage) {
    assert_eq!(page(store, everything(10)).await, AuditPage::default());
    let lines = filled(store).await;
    for limit in [1, 7, 1000] {
        let (found, _) = all(store, &platform(), &everything(limit)).await;
        assert_eq!(found, lines, "{limit} a page");
    }
    let (_, position) = all(store, &platform(), &everything(50)).await;
    let rest = AuditQuery {
        position,
        ..everything(50)
    };
    assert_eq!(page(store, rest.clone()).await.lines, []);
    let later = line(LINES);
    store.audit_append(&later).expect("appended");
    let more = page(store, rest).await;
    assert_eq!(more.lines, [later], "a position goes on where it stood");
}

async fn every_filter_leaves_out_the_rest(store: &dyn Storage) {
    let lines = filled(store).await;
    let check = async |query: AuditQuery, wanted: &dyn Fn(&AuditLine) -> bool| {
        let expected: Vec<_> = lines.iter().filter(|line| wanted(line)).cloned().collect();
        assert!(!expected.is_empty() && expected.len() < lines.len());
        assert_eq!(
            all(store, &platform(), &query).await.0,
            expected,
            "{query:?}"
        );
    };
    let some = everything(11);
    let (since, until) = (at(190), at(230));
    let query = AuditQuery {
        since: Some(since),
        ..some.clone()
    };
    check(query, &|line| line.at >= since).await;
    let query = AuditQuery {
        until: Some(until),
        ..some.clone()
    };
    check(query, &|line| line.at < until).await;
    let query = AuditQuery {
        since: Some(since),
        until: Some(until),
        denied: true,
        ..some.clone()
    };
    let within = |line: &AuditLine| (since..until).contains(&line.at);
    check(query, &|line| {
        within(line) && line.result == AuditResult::Denied
    })
    .await;
    for (asked, action) in [
        ("test:CreateThing", "test:CreateThing"),
        ("test:Del*", "test:DeleteThing"),
    ] {
        let query = AuditQuery {
            action: Some(asked.to_owned()),
            ..some.clone()
        };
        check(query, &|line| line.action.as_str() == action).await;
    }
    let query = AuditQuery {
        action: Some("test:Create".to_owned()),
        ..some
    };
    assert_eq!(all(store, &platform(), &query).await.0, []);
}

async fn one_account_reads_nothing_of_another(store: &dyn Storage) {
    let lines = filled(store).await;
    let of = |tenant: Option<TenantId>| AuditQuery {
        tenant,
        ..everything(13)
    };
    let one = tenant(1);
    let mine: Vec<_> = lines
        .into_iter()
        .filter(|line| line.tenant.as_ref() == Some(&one))
        .collect();
    let (found, _) = all(store, &root(&one), &of(Some(one.clone()))).await;
    assert_eq!(found, mine);
    for (who, tenant) in [
        (root(&one), Some(tenant(2))),
        (root(&one), None),
        (Principal::Anonymous, Some(one.clone())),
        (Principal::Anonymous, None),
    ] {
        let refused = store.audit_lines(&who, of(tenant)).await;
        assert!(
            matches!(refused, Err(ReadError::Denied { .. })),
            "{refused:?}"
        );
    }
}

async fn what_others_write_changes_no_page_of_an_account(quiet: &dyn Storage, busy: &dyn Storage) {
    let one = tenant(1);
    let (who, of) = (root(&one), Some(one.clone()));
    let mine = |line: &AuditLine| line.tenant == of;
    let (mut at_quiet, mut at_busy) = (0, 0);
    for denied in [false, true] {
        for n in (0..LINES).map(line) {
            busy.audit_append(&n).expect("appended");
            if mine(&n) {
                quiet.audit_append(&n).expect("appended");
                continue;
            }
            for _ in 0..30 {
                busy.audit_append(&n).expect("appended");
            }
        }
        loop {
            let query = |position| AuditQuery {
                tenant: of.clone(),
                denied,
                position,
                ..everything(7)
            };
            let alone = quiet.audit_lines(&who, query(at_quiet)).await;
            let among = busy.audit_lines(&who, query(at_busy)).await;
            let (alone, among) = (alone.expect("reads"), among.expect("reads"));
            assert_eq!((&alone.lines, alone.more), (&among.lines, among.more));
            (at_quiet, at_busy) = (alone.position, among.position);
            if !alone.more {
                break;
            }
        }
    }
}

fn keep(from: Wall, bytes: u64) -> AuditRetention {
    AuditRetention {
        from,
        fresh: Wall(i64::MIN),
        bytes,
        operator: Some(tenant(3)),
    }
}

async fn the_old_goes_and_the_new_stays(store: &dyn Storage) {
    let lines = filled(store).await;
    let denied = store
        .audit_trim(&root(&tenant(1)), keep(at(LINES), 0))
        .await;
    assert!(
        matches!(denied, Err(CommitError::Denied { .. })),
        "{denied:?}"
    );
    let trim = async |from| {
        let trimmed = store.audit_trim(&platform(), keep(from, u64::MAX)).await;
        trimmed.expect("trimmed")
    };
    assert_eq!(trim(Wall(0)).await, Default::default(), "nothing is old");
    let trimmed = trim(at(150)).await;
    assert!(trimmed.old_bytes > 0 && trimmed.early_bytes == 0);
    let (found, position) = all(store, &platform(), &everything(50)).await;
    assert!(found.len() < lines.len(), "some went");
    assert_eq!(oldest_went(&lines, &found), found);
    let kept = lines.iter().filter(|line| line.at >= at(150));
    assert!(kept.clone().count() == 150, "what is to be kept is kept");
    assert!(kept.clone().all(|line| found.contains(line)));
    // Positions stay what they are: who follows misses nothing and sees nothing twice.
    let rest = AuditQuery {
        position,
        ..everything(50)
    };
    trim(at(LINES + 1)).await;
    let later = line(LINES);
    store.audit_append(&later).expect("appended");
    assert_eq!(page(store, rest).await.lines, [later]);
}

/// What is there if of each lane the oldest went, so many that as many stay as were found.
fn oldest_went(lines: &[AuditLine], found: &[AuditLine]) -> Vec<AuditLine> {
    let count = |among: &[AuditLine], lane: &AuditLane| {
        let of = among.iter().filter(|line| AuditLane::of(line) == *lane);
        of.count()
    };
    let stays = |(n, line): &(usize, &AuditLine)| {
        let lane = AuditLane::of(line);
        count(&lines[*n..], &lane) <= count(found, &lane)
    };
    let stay = lines.iter().enumerate().filter(stays);
    stay.map(|(_, line)| line.clone()).collect()
}

async fn who_writes_most_loses_its_own_lines_alone(store: &dyn Storage) {
    let of = |n: i64, who: Option<u64>, proven| AuditLine {
        tenant: who.map(tenant),
        proven,
        ..line(n)
    };
    let quiet = [
        (Some(1), true),
        (Some(3), true),
        (None, true),
        (None, false),
    ];
    let mut kept = Vec::new();
    for n in 0..5 {
        for (who, proven) in quiet {
            kept.push(of(n, who, proven));
            store.audit_append(&of(n, who, proven)).expect("appended");
        }
    }
    let mut early_bytes = 0;
    for n in 5..2000 {
        let loud = of(n, Some(2), true);
        if store.audit_append(&loud).expect("appended") {
            let trimmed = store.audit_trim(&platform(), keep(Wall(0), 64 << 10)).await;
            early_bytes += trimmed.expect("trimmed").early_bytes;
        }
    }
    assert!(
        early_bytes > 2 * (64 << 10),
        "it turned over: {early_bytes}"
    );
    let (found, _) = all(store, &platform(), &everything(100)).await;
    let (loud, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|line| line.tenant == Some(tenant(2)));
    assert_eq!(others, kept, "nobody else has lost a line");
    assert_eq!(loud.last(), Some(&of(1999, Some(2), true)));
    assert!(loud.len() > 20 && loud.len() < 1000, "{}", loud.len());
    // Who wrote less than its share keeps it when the room is shared by more.
    for n in 0..1000 {
        let more = of(n, Some(10 + n as u64 % 5), true);
        if store.audit_append(&more).expect("appended") {
            let trimmed = store.audit_trim(&platform(), keep(Wall(0), 64 << 10)).await;
            trimmed.expect("trimmed");
        }
    }
    let (found, _) = all(store, &platform(), &everything(100)).await;
    assert!(kept.iter().all(|line| found.contains(line)));
}

async fn what_grows_says_when_a_trim_is_due(store: &dyn Storage) {
    let due = (0..LINES).filter(|n| store.audit_append(&line(*n)).expect("appended"));
    let due = due.count() as i64;
    assert!(due > 0 && due < LINES / 4, "{due} of {LINES}");
}

async fn the_most_goes_for_want_of_room(store: &dyn Storage) {
    let lines = filled(store).await;
    let trimmed = store.audit_trim(&platform(), keep(Wall(0), 20_000)).await;
    let trimmed = trimmed.expect("trimmed");
    assert!(trimmed.early_bytes > 0 && trimmed.old_bytes == 0);
    let (found, _) = all(store, &platform(), &everything(50)).await;
    assert!(found.len() > 10 && found.len() < 120, "{}", found.len());
    assert_eq!(found, oldest_went(&lines, &found));
    let trimmed = store.audit_trim(&platform(), keep(Wall(0), 0)).await;
    trimmed.expect("trimmed");
    let (found, _) = all(store, &platform(), &everything(50)).await;
    let newest = &lines[lines.len() - 3..];
    assert!(
        newest.iter().all(|line| found.contains(line)),
        "the newest of each stay"
    );
}
