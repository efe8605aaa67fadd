//! Booted instances that are nobody's yet: how many, for whom, and what when they fail.

use crate::support::*;
use freehold_domain::{
    ids::Mebibytes,
    outcome::OutcomeKind,
    ports::{ImageError, Rehearsal, StartError},
    runtime::{RuntimeFamily, RuntimeRow},
};
use freehold_engine::{EngineParts, StartKind};
use freehold_testkit::sandbox::Init;
use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// An engine whose runtimes boot ahead, on one core, so that there is one shelf.
async fn booting(adjust: impl FnOnce(&mut EngineParts)) -> Sim {
    let sim = Sim::with(adjust).await;
    sim.world.boot_ahead(ms(30));
    sim
}

fn starts(sim: &Sim, kind: StartKind) -> u64 {
    let starts = sim.engine.stats().starts;
    starts.iter().find(|(of, _)| *of == kind).unwrap().1
}

#[tokio::test(start_paused = true)]
async fn nothing_is_booted_before_a_function_is_there() {
    let sim = booting(|_| {}).await;
    sim.sleep(60_000).await;
    assert_eq!(sim.world.started(), 0);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_call_takes_a_booted_instance_with_its_own_environment() {
    let sim = booting(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    sim.sleep(1_000).await;
    assert_eq!(sim.world.nobodys(), usize::from(CORES), "one on each core");
    let (kind, _) = sim.call("f", "x").await.unwrap();
    assert_eq!(kind, OutcomeKind::Success);
    assert_eq!(
        (
            starts(&sim, StartKind::Booted),
            starts(&sim, StartKind::Executed)
        ),
        (1, 0)
    );
    assert_eq!(
        sim.world.ran_on("GENERATION"),
        [("1".to_owned(), "x".to_owned())]
    );
    let ledger = sim.ledger().await;
    assert!(
        ledger[0].usage.init_us > 0,
        "the function's own init is on the record"
    );
    // Its place is filled again.
    sim.sleep(1_000).await;
    assert_eq!(sim.world.nobodys(), usize::from(CORES));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_given_as_one_is_made_holds_for_the_next_start() {
    let mut limits = None;
    let sim = booting(|parts| limits = Some(parts.limits.clone())).await;
    let limits = limits.unwrap();
    sim.deploy("f", |_| {}).await;
    sim.sleep(1_000).await;
    let held = sim.world.nobodys();
    assert_eq!(held, usize::from(CORES));
    limits.change(|limits| limits.instance_descriptors = 77);
    sim.call("f", "x").await.unwrap();
    let views = sim.engine.instances(|_| true).await;
    let one = sim.world.instance(views[0].id).expect("it lives");
    assert_eq!(one.spec.descriptors, 77);
    sim.sleep(1_000).await;
    sim.call("f", "sleep 10").await.unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_core_without_one_takes_anothers() {
    let sim = booting(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    sim.sleep(1_000).await;
    let calls: Vec<_> = (0..CORES)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(starts(&sim, StartKind::Booted), u64::from(CORES));
    let views = sim.engine.instances(|_| true).await;
    let mut cores: Vec<_> = views.iter().map(|view| view.core.0).collect();
    cores.sort_unstable();
    assert_eq!(cores, [0, 1]);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_wave_is_expected_again_and_the_shelf_shrinks_and_closes() {
    let sim = booting(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    let calls: Vec<_> = (0..8)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    sim.sleep(5_000).await;
    let held = sim.engine.stats().booted;
    assert!((8..=10).contains(&held), "{held} after a wave of eight");
    sim.sleep(900_000).await;
    let held = sim.engine.stats().booted;
    assert!((2..=4).contains(&held), "{held} a quarter of an hour later");
    sim.sleep(3_600_000).await;
    assert_eq!((sim.engine.stats().booted, sim.world.live()), (0, 0));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn where_many_are_wanted_the_rest_is_rehearsed_when_nobody_asks() {
    let sim = booting(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    sim.sleep(1_000).await;
    let of = |how| {
        let all = sim.world.rehearsals().into_iter();
        let of: BTreeSet<_> = all
            .filter(|(_, done)| *done == how)
            .map(|(id, _)| id)
            .collect();
        of
    };
    assert_eq!(
        of(Rehearsal::Brief).len(),
        0,
        "one that is missing has time"
    );
    let calls: Vec<_> = (0..8)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    sim.sleep(1_500).await;
    let brief = of(Rehearsal::Brief);
    assert!(brief.len() >= 5, "{} briefly", brief.len());
    assert!(brief.is_disjoint(&of(Rehearsal::Full)), "while it is asked");
    let held = sim.engine.stats().booted;
    sim.sleep(3_000).await;
    assert!(brief.is_subset(&of(Rehearsal::Full)));
    assert_eq!(sim.engine.stats().booted, held, "none was lost");
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn whose_environment_is_read_at_execution_is_executed() {
    let sim = booting(|_| {}).await;
    sim.deploy("f", |record| {
        let variables = br#"{"PYTHONPATH":"/var/task/lib"}"#;
        record.head.environment = Some(freehold_domain::ports::Sealer::seal(
            &freehold_testkit::seams::FakeSealer,
            variables,
            "111111111111/us-east-1/f",
        ));
    })
    .await;
    sim.sleep(1_000).await;
    sim.call("f", "x").await.unwrap();
    assert_eq!(
        (
            starts(&sim, StartKind::Booted),
            starts(&sim, StartKind::Executed)
        ),
        (0, 1)
    );
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_along_is_replaced_by_a_plain_start() {
    let sim = booting(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    sim.sleep(1_000).await;
    sim.world.push_specialise_failure(StartError::Step {
        step: "limits".to_owned(),
        reason: "EBUSY".to_owned(),
    });
    sim.call("f", "x").await.unwrap();
    assert_eq!(
        (
            starts(&sim, StartKind::Booted),
            starts(&sim, StartKind::Executed)
        ),
        (0, 1)
    );
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_died_while_it_waited_is_not_handed_out() {
    let sim = booting(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    sim.sleep(1_000).await;
    sim.world.lose_spawner();
    sim.call("f", "x").await.unwrap();
    assert_eq!(starts(&sim, StartKind::Executed), 1);
    sim.sleep(60_000).await;
    assert_eq!(sim.world.nobodys(), usize::from(CORES));
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_does_not_boot_ahead_is_no_busy_loop() {
    let sim = booting(|_| {}).await;
    for _ in 0..1_000 {
        sim.world.push_boot_failure("it says nothing");
    }
    sim.deploy("f", |_| {}).await;
    sim.sleep(600_000).await;
    assert!(sim.world.started() < 30, "{} boots", sim.world.started());
    sim.call("f", "x").await.unwrap();
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn an_init_that_fails_in_a_booted_instance_is_the_functions_own() {
    let sim = booting(|_| {}).await;
    sim.deploy("f", |_| {}).await;
    sim.sleep(1_000).await;
    sim.world.push_inits([
        Init::Fails("Oops".to_owned()),
        Init::Fails("Oops".to_owned()),
    ]);
    let (kind, text) = sim.call("f", "x").await.unwrap();
    assert_ne!(kind, OutcomeKind::Success);
    assert!(text.contains("Oops"), "{text}");
    assert_eq!(sim.engine.stats().init_failures, 1);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn the_stock_is_the_first_to_give_memory_back() {
    let sim = booting(|_| {}).await;
    let each = 128 << 20;
    sim.world.set_memory(100 * each, each);
    sim.deploy("f", |_| {}).await;
    sim.deploy("g", |_| {}).await;
    sim.sleep(1_000).await;
    let calls: Vec<_> = (0..3)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 50")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    sim.sleep(5_000).await;
    let (idle, held) = (3, sim.engine.stats().booted);
    assert!(held >= 2, "{held}");
    // From now on the machine holds what is there and nothing else.
    sim.world.set_memory((idle + held) * each, each);
    let mut calls = Vec::new();
    for _ in 0..held {
        calls.push(sim.spawn(0, sim.event("g", "sleep 1000")));
        sim.sleep(100).await;
    }
    assert!((sim.world.nobodys() as u64) < held);
    assert_eq!(
        sim.engine.stats().evictions,
        0,
        "no tenant's instance had to go"
    );
    for call in calls {
        call.await.unwrap().unwrap();
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn templates_fill_the_stock_and_start_when_it_is_empty() {
    let sim = booting(|_| {}).await;
    sim.world.take_images(10 << 20);
    sim.deploy("f", |_| {}).await;
    sim.sleep(5_000).await;
    let stats = sim.engine.stats();
    assert!(stats.templates >= 1 && stats.template_bytes == stats.templates * (10 << 20));
    // More at once than the shelf holds: the others are thawed on the spot.
    let calls: Vec<_> = (0..6)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(starts(&sim, StartKind::Executed), 0);
    assert!(starts(&sim, StartKind::Template) >= 4);
    sim.sleep(60_000).await;
    assert_eq!(sim.engine.stats().templates, 3, "three variants in the end");
    sim.ends_clean().await;
    assert_eq!(sim.world.images_held(), 0);
}

/// An engine that has every template of its one runtime.
async fn with_templates() -> Sim {
    let sim = booting(|_| {}).await;
    sim.world.take_images(10 << 20);
    for name in ["f", "g", "h"] {
        sim.deploy(name, |_| {}).await;
    }
    let calls: Vec<_> = (0..6)
        .map(|_| sim.spawn(0, sim.event("h", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    sim.sleep(900_000).await;
    assert_eq!(sim.engine.stats().templates, 3);
    sim
}

/// Each follows each, itself too: of three that come in turn every one has one follower.
#[tokio::test(start_paused = true)]
async fn a_template_is_drawn_at_random_for_each_start() {
    const STARTS: usize = 300;
    let sim = with_templates().await;
    sim.deploy("many", |record| record.head.timeout_s = 60)
        .await;
    let mut calls = Vec::new();
    for _ in 0..STARTS {
        calls.push(sim.spawn(0, sim.event("many", "sleep 25000")));
        sim.sleep(50).await;
    }
    // In the order of their ids, which is that in which they were begun.
    let mut born = sim.world.living();
    born.sort_by_key(|one| one.spec.instance);
    let images = born.iter().filter_map(|one| one.spec.image.as_ref());
    let drawn: Vec<_> = images.map(|image| image.descriptor.as_raw_fd()).collect();
    assert!(drawn.len() >= STARTS, "{} of templates", drawn.len());
    let mut followers = BTreeMap::new();
    for pair in drawn.windows(2) {
        *followers.entry((pair[0], pair[1])).or_insert(0) += 1;
    }
    // By chance a ninth each, 33 times.
    assert_eq!(followers.len(), 9, "{followers:?}");
    assert!(followers.values().all(|&times| times >= 5), "{followers:?}");
    for call in calls {
        call.await.unwrap().unwrap();
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn functions_that_crash_cost_nobody_the_templates() {
    let sim = with_templates().await;
    sim.world.set_init(Init::Dies(11));
    let before = starts(&sim, StartKind::Template);
    let calls: Vec<_> = (0..16).map(|_| sim.spawn(0, sim.event("f", "x"))).collect();
    for call in calls {
        let (kind, ..) = call.await.unwrap().unwrap();
        assert_ne!(kind, OutcomeKind::Success);
    }
    assert!(starts(&sim, StartKind::Template) - before >= 3);
    assert_eq!(sim.engine.stats().templates, 3);
    sim.world.set_init(Init::Fine);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn templates_go_when_they_do_not_come_to_life_and_not_for_a_busy_machine() {
    let sim = with_templates().await;
    // The place of the one that the call takes is filled again, which fails three times: from the
    // image, and plainly.
    let fail = |error: StartError| (0..6).for_each(|_| sim.world.push_start_failure(error.clone()));
    let resource = "instances".to_owned();
    fail(StartError::Exhausted { resource });
    sim.call("f", "x").await.unwrap();
    sim.sleep(60_000).await;
    assert_eq!(sim.engine.stats().templates, 3);
    let reason = "another kernel".to_owned();
    fail(StartError::Image { reason });
    sim.call("g", "x").await.unwrap();
    sim.sleep(60_000).await;
    assert_eq!(sim.engine.stats().templates, 0);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_template_that_could_not_be_made_anew_costs_none_that_is_there() {
    let sim = with_templates().await;
    sim.sleep(7 * 3_600_000).await;
    assert_eq!(
        (sim.engine.stats().templates, sim.world.images_taken()),
        (3, 3)
    );
    sim.world.push_image_failure(ImageError::Deadline);
    sim.deploy("i", |_| {}).await;
    sim.sleep(60_000).await;
    assert_eq!(
        (sim.engine.stats().templates, sim.world.images_taken()),
        (3, 3)
    );
    // It is tried again after an hour.
    sim.sleep(3_600_000).await;
    sim.deploy("j", |_| {}).await;
    sim.sleep(60_000).await;
    assert!(sim.world.images_taken() > 3);
    assert_eq!(sim.engine.stats().templates, 3);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_shelf_that_was_pushed_out_and_comes_again_has_one_keeper() {
    let sim = booting(|parts| {
        let python = parts.runtimes[0].clone();
        let contract = parts.contracts[&python.family].clone();
        parts.contracts.insert(RuntimeFamily::Node, contract);
        parts.runtimes.push(RuntimeRow {
            id: 2,
            name: "nodejs22.x".parse().unwrap(),
            family: RuntimeFamily::Node,
            ..python
        });
    })
    .await;
    let tasks = || {
        let metrics = tokio::runtime::Handle::current().metrics();
        metrics.num_alive_tasks()
    };
    let before = tasks();
    // A shelf by memory and core, twice as many as there may be.
    for _ in 0..4 {
        for at in 0..64 {
            sim.deploy(&format!("n{at}"), |record| {
                record.head.runtime = "nodejs22.x".parse().unwrap();
                record.head.memory = Mebibytes(128 + at);
            })
            .await;
            // Its keeper has done what there was to do.
            sim.sleep(100).await;
        }
    }
    sim.sleep(1_000).await;
    let keepers = tasks() - before;
    assert!(
        (32..=72).contains(&keepers),
        "{keepers} tasks for 64 shelves"
    );
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_cannot_be_carried_is_booted() {
    let sim = booting(|_| {}).await;
    sim.world.take_images(10 << 20);
    sim.world.push_image_failure(ImageError::Refused {
        reason: "2 threads".to_owned(),
    });
    sim.deploy("f", |_| {}).await;
    sim.sleep(10_000).await;
    assert_eq!(
        (sim.engine.stats().templates, sim.world.images_taken()),
        (0, 0)
    );
    sim.call("f", "x").await.unwrap();
    assert_eq!(starts(&sim, StartKind::Booted), 1);
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_boots_and_leaves_nothing() {
    let sim = booting(|_| {}).await;
    sim.world.boot_ahead(ms(5_000));
    sim.deploy("f", |_| {}).await;
    sim.sleep(100).await;
    let world = Arc::clone(&sim.world);
    sim.ends_clean().await;
    assert_eq!(world.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn whose_init_imports_the_libraries_starts_from_an_image_that_holds_them() {
    let sim = with_templates().await;
    let booted_so_far = |sim: &Sim| {
        (
            starts(sim, StartKind::Booted),
            starts(sim, StartKind::Template),
        )
    };
    sim.call("g", "x").await.unwrap();
    sim.sleep(60_000).await;
    assert_eq!(sim.engine.stats().templates, 3, "nobody has asked for them");
    let told = |sim: &Sim| sim.world.executed_with("_FREEHOLD_PRELOAD");
    assert!(told(&sim).is_empty());

    sim.world.use_libraries(true);
    let before = booted_so_far(&sim);
    sim.call("f", "x").await.unwrap();
    assert_eq!(booted_so_far(&sim), (before.0 + 1, before.1));
    sim.sleep(60_000).await;
    assert_eq!(sim.engine.stats().templates, 6, "three of each");
    assert_eq!(told(&sim), ["libraries"; 3]);
    let calls: Vec<_> = (0..2)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(booted_so_far(&sim), (before.0 + 1, before.1 + 1));

    // What they hold stands before something of the function's: never again, for this function.
    sim.world.use_libraries(false);
    let calls: Vec<_> = (0..3)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(booted_so_far(&sim), (before.0 + 1, before.1 + 2));
    sim.world.use_libraries(true);
    let calls: Vec<_> = (0..4)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(booted_so_far(&sim), (before.0 + 2, before.1 + 2));

    // They go when nobody starts from them; the others stay.
    sim.sleep(2 * 3_600_000).await;
    assert_eq!(sim.engine.stats().templates, 3);
    sim.ends_clean().await;
    assert_eq!(sim.world.images_held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_package_that_holds_a_module_of_their_names_never_starts_with_the_libraries() {
    let sim = with_templates().await;
    sim.deploy("h", |record| record.head.package.holds_libraries = true)
        .await;
    sim.world.use_libraries(true);
    for function in ["h", "f"] {
        sim.call(function, "x").await.unwrap();
        sim.sleep(60_000).await;
        let before = starts(&sim, StartKind::Template);
        let calls = (0..2).map(|_| sim.spawn(0, sim.event(function, "sleep 100")));
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
        // The image with libraries is taken before a spare, and a bare one after it.
        let thawed = starts(&sim, StartKind::Template) - before;
        let templates = sim.engine.stats().templates;
        let expected = if function == "h" { (0, 3) } else { (1, 6) };
        assert_eq!((thawed, templates), expected, "{function}");
    }
    sim.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn images_with_libraries_that_cannot_be_made_cost_no_start() {
    let sim = with_templates().await;
    let executed = starts(&sim, StartKind::Executed);
    sim.world.push_image_failure(ImageError::Refused {
        reason: "2 threads".to_owned(),
    });
    sim.world.use_libraries(true);
    sim.call("f", "x").await.unwrap();
    sim.sleep(120_000).await;
    assert_eq!(sim.engine.stats().templates, 3);
    let calls: Vec<_> = (0..2)
        .map(|_| sim.spawn(0, sim.event("f", "sleep 100")))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(starts(&sim, StartKind::Executed), executed);
    sim.ends_clean().await;
}
