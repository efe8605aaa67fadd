//! Against what kernels told (`recorded/`: a message's type and the rest of it in each line), and rules of
//! our own writing.

use super::*;
use crate::network::{
    expressions::{Device, Rule, Verdict},
    netlink::Messages,
};
use freehold_domain::network::DEVICES;

/// `FORWARD` with the policy drop and the chains of ufw and Docker, made by iptables 1.8.9.
const IPTABLES: &str = include_str!("recorded/iptables.txt");
/// The same with `-i fh+ -j ACCEPT` in a chain of ufw's for users.
const IPTABLES_PASSES: &str = include_str!("recorded/iptables_passes.txt");
/// As firewalld has it: a reject without a condition at the end. Beside it a dormant table, one of IPv6 and one
/// of a node, with the policy drop all of them, and the policy drop at `input`.
const FIREWALLD: &str = include_str!("recorded/firewalld.txt");
const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                      eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

fn other() -> Other {
    Other::of(ROUTES, |name| (name == "eth0").then_some(2))
}

fn heard(recorded: &str, limits: Limits) -> Result<Tables, Unjudged> {
    let byte = |text: &[u8]| {
        let text = std::str::from_utf8(text).expect("recorded");
        u8::from_str_radix(text, 16).expect("recorded")
    };
    let mut tables = Tables::new(limits);
    for line in recorded.lines() {
        let (kind, rest) = line.split_once(' ').expect("recorded");
        let kind = u16::from_str_radix(kind, 16).expect("recorded");
        let message: Vec<u8> = rest.as_bytes().chunks(2).map(byte).collect();
        tables.heard(kind, &message)?;
    }
    Ok(tables)
}

fn judged_of(recorded: &str) -> Judged {
    let tables = heard(recorded, LIMITS).expect("within limits");
    tables.judged(&other()).expect("within limits")
}

fn found(recorded: &str) -> Vec<Obstacle> {
    judged_of(recorded).obstacles
}

#[test]
fn a_policy_of_iptables_is_named_and_so_is_what_lets_functions_pass() {
    let (says, remedy) = in_the_way(&found(IPTABLES)).expect("an obstacle");
    // ufw lets answers through by itself.
    assert_eq!(
        says,
        "ip filter chain FORWARD drops what functions send (its policy is drop, and no rule accepts it)"
    );
    assert_eq!(remedy, "iptables -t filter -I FORWARD -i fh+ -j ACCEPT");
    assert_eq!(found(IPTABLES_PASSES), []);
}

#[test]
fn a_rule_at_the_end_that_rejects_everything_is_one_like_a_policy() {
    let found = found(FIREWALLD);
    let (says, remedy) = in_the_way(&found).expect("an obstacle");
    assert_eq!(found.len(), 1, "{found:?}");
    // Its set of states is not read.
    assert_eq!(
        says,
        "inet firewalld chain filter_FORWARD may drop what functions send and what comes back to them (a \
         rule drops whatever comes as far, and rules that are not judged here accept some)"
    );
    assert_eq!(
        remedy,
        "nft 'insert rule inet firewalld filter_FORWARD iifname \"fh*\" accept' && nft 'insert rule inet \
         firewalld filter_FORWARD oifname \"fh*\" ct state established,related accept'"
    );
}

#[test]
fn half_of_what_was_told_is_nothing_and_no_panic() {
    for recorded in [IPTABLES, FIREWALLD] {
        let cut: Vec<String> = recorded
            .lines()
            .map(|line| line[..5 + (line.len() - 5) / 4 * 2].to_owned())
            .collect();
        found(&cut.join("\n"));
    }
}

#[test]
fn more_than_the_limits_is_not_judged() {
    let fits = heard(FIREWALLD, LIMITS).expect("within limits");
    // Of the tables that are looked at.
    assert_eq!((fits.tables.len(), fits.chains), (1, 6));
    let check = |limits: Limits, what: &str, limit: usize| {
        let error = match heard(FIREWALLD, limits) {
            Err(error) => error,
            Ok(tables) => tables.judged(&other()).expect_err(what),
        };
        let expected = format!("there are more than {limit} {what}");
        assert_eq!(error.to_string(), expected);
    };
    let (rules, bytes) = (fits.rules - 1, fits.bytes - 1);
    check(
        Limits {
            tables: 0,
            ..LIMITS
        },
        "tables",
        0,
    );
    check(
        Limits {
            chains: 5,
            ..LIMITS
        },
        "chains",
        5,
    );
    check(Limits { rules, ..LIMITS }, "rules", rules);
    check(Limits { bytes, ..LIMITS }, "bytes of rules", bytes);
    let steps = 3;
    check(
        Limits { steps, ..LIMITS },
        "rules on the ways of functions' packets",
        steps,
    );
    // Exactly as much is within.
    let exact = Limits {
        tables: 1,
        chains: 6,
        rules: fits.rules,
        bytes: fits.bytes,
        ..LIMITS
    };
    let exact = heard(FIREWALLD, exact).expect("within limits");
    // Of all packets together: what one takes is not there for the next.
    let least = (1..).find(|steps| {
        exact
            .judged_within(&other(), &mut Steps::new(*steps))
            .is_ok()
    });
    let least = least.expect("it ends");
    let mut twice = Steps::new(2 * least - 1);
    assert!(exact.judged_within(&other(), &mut twice).is_ok());
    assert!(exact.judged_within(&other(), &mut twice).is_err());
}

type Written = fn(Rule<'_>) -> Rule<'_>;

/// The ways that a chain with these rules drops, and whether that is uncertain.
fn judged(hook: u32, drops: bool, rules: &[Written]) -> Option<(Vec<Way>, bool)> {
    let mut found = judged_chain(hook, drops, rules).obstacles;
    assert!(found.len() < 2);
    found.pop().map(|one| (one.ways, one.is_uncertain))
}

/// The numbers of its rules that may drop something, in their order from 1 on, and which way.
fn doubted(hook: u32, drops: bool, rules: &[Written]) -> Vec<(u64, Vec<Way>)> {
    let doubts = judged_chain(hook, drops, rules).doubts.into_iter();
    doubts.map(|(one, ways)| (one.handle, ways)).collect()
}

fn judged_chain(hook: u32, drops: bool, rules: &[Written]) -> Judged {
    let rules = rules.iter().zip(1..).map(|(write, handle)| {
        let mut messages = Messages::default();
        write(Rule(&mut messages));
        OtherRule {
            handle,
            expressions: messages.bytes().to_vec(),
        }
    });
    let base = Some(Base {
        hook,
        priority: 0,
        drops,
        is_nat: false,
        is_blind: false,
    });
    let chain = Chain {
        base,
        rules: rules.collect(),
    };
    let mut tables = Tables::new(LIMITS);
    let chains = Chains::from([("one".to_owned(), chain)]);
    tables
        .tables
        .insert((libc::NFPROTO_INET as u8, "theirs".to_owned()), chains);
    tables.judged(&other()).expect("within limits")
}

#[test]
fn a_chain_is_in_the_way_as_far_as_its_rules_let_nothing_pass() {
    let both = || vec![Way::Out, Way::Back];
    let ours: Written = |rule| rule.device(Device::In, DEVICES).verdict(Verdict::Accept);
    let answers: Written = |rule| {
        let rule = rule.device(Device::Out, DEVICES).known();
        rule.verdict(Verdict::Accept)
    };
    let known: Written = |rule| rule.known().verdict(Verdict::Accept);
    let to_the_way_out: Written = |rule| {
        rule.very_device(Device::Out, "eth0")
            .verdict(Verdict::Accept)
    };
    let elsewhere: Written = |rule| {
        rule.very_device(Device::Out, "docker0")
            .verdict(Verdict::Accept)
    };
    let not_elsewhere: Written = |rule| {
        rule.other_device(Device::Out, "docker0")
            .verdict(Verdict::Drop)
    };
    let web: Written = |rule| {
        let rule = rule.transport(libc::IPPROTO_TCP);
        let ports = freehold_domain::network::Ports {
            first: 443,
            last: 443,
        };
        rule.ports(ports).verdict(Verdict::Accept)
    };
    let web_of_ours: Written = |rule| {
        let ports = freehold_domain::network::Ports {
            first: 443,
            last: 443,
        };
        let rule = rule
            .device(Device::In, DEVICES)
            .transport(libc::IPPROTO_TCP);
        rule.ports(ports).verdict(Verdict::Accept)
    };
    let names: Written = |rule| rule.transport(libc::IPPROTO_UDP).verdict(Verdict::Accept);
    let some: Written = |rule| {
        let net = freehold_domain::network::Ipv4Net::around([10, 0, 0, 0].into(), 8);
        rule.to(net).verdict(Verdict::Drop)
    };
    let one: Written = |rule| {
        rule.very_device(Device::In, "fh00010002")
            .verdict(Verdict::Accept)
    };
    let of_a_node: Written = |rule| rule.device(Device::In, "fh00").verdict(Verdict::Accept);
    let all: Written = |rule| rule.verdict(Verdict::Drop);
    let refuses: Written = |rule| rule.prohibit();

    let check = |rules: &[Written], expected: Option<(Vec<Way>, bool)>| {
        assert_eq!(judged(FORWARD, true, rules), expected);
    };
    check(&[], Some((both(), false)));
    check(&[ours], Some((vec![Way::Back], false)));
    check(&[answers], Some((vec![Way::Out], false)));
    check(&[ours, answers], None);
    check(&[ours, known], None);
    // The order counts.
    check(&[all, ours, answers], Some((both(), false)));
    check(&[ours, answers, all], None);
    check(&[ours, answers, refuses], None);
    check(&[known, to_the_way_out], None);
    check(&[known, elsewhere, names], Some((vec![Way::Out], false)));
    check(&[known, not_elsewhere, ours], Some((vec![Way::Out], false)));
    check(&[known, web], Some((vec![Way::Out], true)));
    // Made for functions, whatever else they ask.
    check(&[known, web_of_ours], None);
    check(&[known, of_a_node], None);
    check(&[known, one], Some((vec![Way::Out], true)));

    assert_eq!(judged(FORWARD, false, &[]), None);
    assert_eq!(judged(FORWARD, false, &[some]), None);
    assert_eq!(judged(FORWARD, false, &[some, all]), Some((both(), false)));
    assert_eq!(judged(FORWARD, false, &[refuses]), Some((both(), false)));
    // Before routing nothing goes out anywhere.
    assert_eq!(
        judged(PREROUTING, true, &[ours, answers]),
        Some((vec![Way::Back], false))
    );
    assert_eq!(judged(PREROUTING, true, &[ours, known]), None);
    assert_eq!(judged(POSTROUTING, true, &[to_the_way_out, answers]), None);
}

#[test]
fn a_rule_that_may_drop_is_told_where_nothing_before_it_decides() {
    let ours: Written = |rule| rule.device(Device::In, DEVICES).verdict(Verdict::Accept);
    let some: Written = |rule| {
        let net = freehold_domain::network::Ipv4Net::around([10, 0, 0, 0].into(), 8);
        rule.to(net).verdict(Verdict::Drop)
    };
    let web: Written = |rule| {
        let ports = freehold_domain::network::Ports {
            first: 443,
            last: 443,
        };
        let rule = rule.transport(libc::IPPROTO_TCP);
        rule.ports(ports).verdict(Verdict::Drop)
    };
    let names: Written = |rule| rule.transport(libc::IPPROTO_UDP).verdict(Verdict::Drop);
    let accepts_web: Written = |rule| {
        let ports = freehold_domain::network::Ports {
            first: 443,
            last: 443,
        };
        let rule = rule.transport(libc::IPPROTO_TCP);
        rule.ports(ports).verdict(Verdict::Accept)
    };
    let all: Written = |rule| rule.verdict(Verdict::Drop);
    let both = || vec![Way::Out, Way::Back];
    let check = |rules: &[Written], expected: &[(u64, Vec<Way>)]| {
        assert_eq!(doubted(FORWARD, false, rules), expected);
    };
    check(&[], &[]);
    // An instance's own address is what comes back to it has.
    check(&[some], &[(1, vec![Way::Out])]);
    check(&[web], &[(1, both())]);
    check(&[names, web], &[(2, both())]);
    // A rule that accepts by what is not judged is no reason to be silent about the next.
    check(&[accepts_web, web], &[(2, both())]);
    check(&[ours, web], &[(2, vec![Way::Back])]);
    check(&[web, ours], &[(1, both())]);
    // What drops everything is told by itself, with what helps against all of it.
    check(&[web, all], &[]);
    assert_eq!(doubted(FORWARD, true, &[web]), []);
    assert_eq!(
        doubted(FORWARD, true, &[ours, some, web]),
        [],
        "what comes back is dropped, what is sent was accepted"
    );
}

#[test]
fn doubts_are_told_with_their_places_and_no_more_than_a_few() {
    let doubts = |handles: std::ops::Range<u64>| {
        let doubt = |handle| Doubt {
            family: "inet",
            table: "theirs".to_owned(),
            chain: "a b".to_owned(),
            handle,
        };
        let each = handles.map(|handle| (doubt(handle), vec![Way::Out]));
        in_doubt(&each.collect())
    };
    assert_eq!(doubts(0..0), None);
    assert_eq!(
        doubts(7..8).expect("one"),
        "inet theirs chain a?b handle 7, which may drop some of what functions send"
    );
    let says = doubts(0..9).expect("nine");
    assert!(
        says.contains("handle 3,") && !says.contains("handle 4,"),
        "{says}"
    );
    assert!(says.ends_with("; and so may 5 more"), "{says}");
}

#[test]
fn a_chain_that_is_only_called_like_one_of_iptables_is_none() {
    let check = |table: &str, chain: &str, hook, priority, expected| {
        let obstacle = Obstacle {
            family: "ip",
            table: table.to_owned(),
            chain: chain.to_owned(),
            base: Base {
                hook,
                priority,
                drops: true,
                is_nat: table == "nat",
                is_blind: false,
            },
            by_policy: true,
            is_uncertain: false,
            ways: vec![Way::Out],
        };
        assert_eq!(
            obstacle.is_of_iptables(),
            expected,
            "{table} {chain} {priority}"
        );
        let begins = if expected { "iptables -t" } else { "nft '" };
        assert!(obstacle.remedies()[0].starts_with(begins));
    };
    check("filter", "FORWARD", FORWARD, 0, true);
    check("mangle", "FORWARD", FORWARD, -150, true);
    check("mangle", "POSTROUTING", POSTROUTING, -150, true);
    check("raw", "PREROUTING", PREROUTING, -300, true);
    check("nat", "POSTROUTING", POSTROUTING, 100, true);
    check("filter", "FORWARD", FORWARD, -10, false);
    check("filter", "FORWARD", POSTROUTING, 0, false);
    check("filter", "forward", FORWARD, 0, false);
    check("filter", "POSTROUTING", POSTROUTING, 100, false);
    check("mine", "FORWARD", FORWARD, 0, false);
}

#[test]
fn rules_that_change_while_they_are_read_are_read_again_a_few_times() {
    let changed = || Unjudged::Unread(io::ErrorKind::Interrupted.into());
    let check = |until: u32| {
        let reads = std::cell::Cell::new(0);
        let read = || {
            reads.set(reads.get() + 1);
            if reads.get() < until {
                Err(changed())
            } else {
                Ok(())
            }
        };
        (settled(read), reads.get())
    };
    assert!(matches!(check(1), (Ok(()), 1)));
    assert!(matches!(check(ATTEMPTS), (Ok(()), ATTEMPTS)));
    let (settled, reads) = check(u32::MAX);
    assert!(matches!(
        settled,
        Err(Unjudged::Changing { attempts: ATTEMPTS })
    ));
    assert_eq!(reads, ATTEMPTS);
}

/// In a machine that is this thread's own: every change makes another generation.
fn generations() -> Result<(), Unjudged> {
    crate::sys::mounts::unshare(libc::CLONE_NEWNET)?;
    let socket = Socket::firewall()?;
    let first = generation(&socket)?;
    assert_eq!(generation(&socket)?, first);
    assert!(Tables::read(LIMITS)?.tables.is_empty());
    // A table: `NFNL_MSG_BATCH_BEGIN` and `END` around it.
    let batch = [libc::AF_UNSPEC as u8, 0, 0, 10];
    let mut messages = Messages::default();
    messages.begin(0x10, 0, false, &batch);
    let inet = [libc::NFPROTO_INET as u8, 0, 0, 0];
    messages
        .begin(NEW_TABLE, crate::network::netlink::CREATE, true, &inet)
        .text(1, "theirs");
    messages.begin(0x11, 0, false, &batch);
    socket.send(messages)?;
    assert_ne!(generation(&socket)?, first);
    assert_eq!(Tables::read(LIMITS)?.tables.len(), 1);
    Ok(())
}

#[test]
fn a_change_of_the_rules_makes_another_generation() {
    match std::thread::spawn(generations).join().expect("no panic") {
        Err(Unjudged::Unread(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: a network namespace takes root: {error}");
        }
        done => done.expect("nf_tables"),
    }
}

#[test]
fn jumps_are_followed_and_loops_end() {
    let jump = |to: &str| {
        let mut messages = Messages::default();
        Rule(&mut messages).verdict(Verdict::Jump(to));
        Chain {
            base: None,
            rules: vec![OtherRule {
                handle: 1,
                expressions: messages.bytes().to_vec(),
            }],
        }
    };
    let mut tables = Tables::new(LIMITS);
    let mut chains = Chains::from([("a".to_owned(), jump("b")), ("b".to_owned(), jump("a"))]);
    chains.get_mut("a").expect("there").base = Some(Base {
        hook: FORWARD,
        priority: 0,
        drops: false,
        is_nat: false,
        is_blind: false,
    });
    let key = (libc::NFPROTO_IPV4 as u8, "loops".to_owned());
    tables.tables.insert(key, chains);
    let error = tables.judged(&other()).expect_err("a loop");
    assert!(
        error.to_string().contains("jump into each other"),
        "{error}"
    );
}

#[test]
fn a_jump_that_may_be_taken_to_what_drops_is_told_by_its_own_place() {
    let rule = |handle, write: &dyn Fn(Rule<'_>)| {
        let mut messages = Messages::default();
        write(Rule(&mut messages));
        OtherRule {
            handle,
            expressions: messages.bytes().to_vec(),
        }
    };
    let net = freehold_domain::network::Ipv4Net::around([10, 0, 0, 0].into(), 8);
    let jump = |handle| {
        rule(handle, &|rule| {
            rule.to(net).verdict(Verdict::Jump("end"));
        })
    };
    let drop = rule(9, &|rule| {
        rule.verdict(Verdict::Drop);
    });
    let base = Base {
        hook: FORWARD,
        priority: 0,
        drops: false,
        is_nat: false,
        is_blind: false,
    };
    let first = Chain {
        base: Some(base),
        rules: vec![jump(4), jump(5)],
    };
    let end = Chain {
        base: None,
        rules: vec![drop],
    };
    let mut tables = Tables::new(LIMITS);
    let chains = Chains::from([("first".to_owned(), first), ("end".to_owned(), end)]);
    tables
        .tables
        .insert((libc::NFPROTO_INET as u8, "theirs".to_owned()), chains);
    let judged = tables.judged(&other()).expect("within limits");
    assert_eq!(judged.obstacles, []);
    let places: Vec<_> = judged
        .doubts
        .keys()
        .map(|one| (one.chain.as_str(), one.handle))
        .collect();
    assert_eq!(places, [("first", 4), ("first", 5)]);
}

#[test]
fn where_no_command_helps_there_are_words() {
    let obstacle = Obstacle {
        family: "inet",
        table: "raw".to_owned(),
        chain: "pre".to_owned(),
        base: Base {
            hook: PREROUTING,
            priority: -300,
            drops: true,
            is_nat: false,
            is_blind: true,
        },
        by_policy: true,
        is_uncertain: false,
        ways: vec![Way::Back],
    };
    let (says, remedy) = in_the_way(&[obstacle]).expect("an obstacle");
    assert!(says.contains("before connections are known"), "{says}");
    assert_eq!(remedy, BLIND);
}

#[test]
fn names_of_others_are_no_commands() {
    assert_eq!(shown("a'; rm -rf / #\n"), "a???rm?-rf?/???");
    assert!(is_ours("freehold_07") && !is_ours("freehold_x7") && !is_ours("freehold"));
}
