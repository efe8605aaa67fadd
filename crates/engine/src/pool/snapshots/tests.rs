//! Who is dropped, and when one is made again.

use super::*;
use crate::pool::MemoryBook;
use freehold_domain::ports::StartImage;
use std::{fs::File, time::Duration};

const CONFIG: SnapshotConfig = SnapshotConfig {
    memory: None,
    tenant_memory: None,
    age_max: Duration::from_secs(100),
    starts_max: 5,
    crashes_max: 3,
    crash_window: Duration::from_secs(10),
    again_after: Duration::from_secs(20),
};
const ROOM: Room = Room {
    node_bytes: 100,
    tenant_bytes: 60,
};

fn of(tenant: &str, number: u64) -> SnapshotOf {
    SnapshotOf {
        function: FunctionRef {
            tenant: tenant.parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
        },
        number,
    }
}

fn s(seconds: u64) -> Mono {
    Mono(0) + Duration::from_secs(seconds)
}

struct World {
    snapshots: Snapshots,
    book: MemoryBook,
}

impl World {
    fn new() -> Self {
        Self {
            snapshots: Snapshots::new(),
            book: MemoryBook::new(),
        }
    }

    fn made(&self, of: &SnapshotOf, bytes: u64, now: Mono) -> Result<(), NoRoom> {
        self.snapshots.begin(of);
        let image = StartImage {
            runtime: 1,
            bytes,
            descriptor: Arc::new(File::open("/dev/null").unwrap().into()),
        };
        let image = self.book.hold_image(image);
        let again_at = now + CONFIG.again_after;
        self.snapshots.keep(of, image, now, again_at, ROOM)
    }

    fn start(&self, of: &SnapshotOf, now: Mono) -> (bool, bool) {
        let hand = self.snapshots.at_hand(of, now, &CONFIG);
        (hand.image.is_some(), hand.make)
    }
}

const A: &str = "111111111111";
const B: &str = "222222222222";

#[test]
fn the_least_used_goes_first_of_the_tenant_then_of_the_node() {
    let world = World::new();
    let (a1, a2, b1, b2) = (of(A, 1), of(A, 2), of(B, 1), of(B, 2));
    world.made(&a1, 30, s(0)).unwrap();
    world.made(&a2, 30, s(0)).unwrap();
    assert_eq!(world.start(&a1, s(1)), (true, false));
    // The tenant has room for 60: its own least used one goes, though the node has room.
    world.made(&of(A, 3), 30, s(2)).unwrap();
    assert_eq!(world.start(&a2, s(3)), (false, false));
    assert_eq!(world.start(&a1, s(3)), (true, false));
    assert_eq!(world.snapshots.counts().1, 60);
    // The node has room for 100: whoever's was used least goes.
    world.made(&b1, 40, s(4)).unwrap();
    world.start(&a1, s(5));
    world.made(&b2, 20, s(6)).unwrap();
    assert_eq!(world.start(&of(A, 3), s(7)), (false, false));
    assert_eq!(world.snapshots.counts().1, 90);
    // Who had to go does not push the next one out at once.
    assert_eq!(world.start(&a2, s(21)), (false, false));
    assert_eq!(world.start(&a2, s(22)), (false, true));
    assert_eq!(world.start(&of(A, 3), s(26)), (false, true));
    // The machine's books know of all of it, and of nothing else.
    assert_eq!(world.book.booked_bytes(), 90);
    assert_eq!(
        world.made(&of(B, 3), 61, s(8)),
        Err(NoRoom::TooLarge { limit_bytes: 60 })
    );
    assert_eq!(world.book.booked_bytes(), 90);
}

#[test]
fn one_start_makes_what_is_missing_and_the_others_go_on() {
    let world = World::new();
    let of = of(A, 1);
    assert_eq!(world.start(&of, s(0)), (false, true));
    assert_eq!(world.start(&of, s(0)), (false, false));
    world.snapshots.gave_up(&of, s(20));
    assert_eq!(world.start(&of, s(19)), (false, false));
    assert_eq!(world.start(&of, s(20)), (false, true));
    world.made(&of, 10, s(21)).unwrap();
    assert_eq!(world.start(&of, s(22)), (true, false));
}

#[test]
fn an_image_is_made_anew_by_age_and_by_starts_and_used_until_then() {
    let world = World::new();
    let of = of(A, 1);
    world.made(&of, 10, s(0)).unwrap();
    assert_eq!(world.start(&of, s(99)), (true, false));
    assert_eq!(world.start(&of, s(100)), (true, true));
    assert_eq!(world.start(&of, s(199)), (true, false));
    assert_eq!(world.start(&of, s(200)), (false, false));
    world.made(&of, 10, s(200)).unwrap();
    for _ in 0..5 {
        assert_eq!(world.start(&of, s(201)), (true, false));
    }
    assert_eq!(world.start(&of, s(201)), (true, true));
    for _ in 0..4 {
        assert_eq!(world.start(&of, s(201)), (true, false));
    }
    assert_eq!(world.start(&of, s(201)), (false, false));
    assert_eq!(world.book.booked_bytes(), 0);
}

#[test]
fn a_burst_of_crashes_drops_it_and_single_ones_do_not() {
    let world = World::new();
    let of = of(A, 1);
    world.made(&of, 10, s(0)).unwrap();
    for at in [1, 6, 12, 18, 24] {
        assert!(!world.snapshots.crashed(&of, s(at), &CONFIG), "{at}");
    }
    assert!(world.snapshots.crashed(&of, s(25), &CONFIG));
    assert_eq!(world.start(&of, s(26)), (false, true));
}

#[test]
fn a_revision_that_goes_takes_its_image_along_also_one_that_is_made() {
    let world = World::new();
    let of = of(A, 1);
    world.made(&of, 10, s(0)).unwrap();
    world.snapshots.forget(&of);
    assert_eq!(
        (world.snapshots.counts(), world.book.booked_bytes()),
        ((0, 0, 0), 0)
    );
    world.snapshots.begin(&of);
    world.snapshots.forget(&of);
    let image = StartImage {
        runtime: 1,
        bytes: 10,
        descriptor: Arc::new(File::open("/dev/null").unwrap().into()),
    };
    let image = world.book.hold_image(image);
    world.snapshots.keep(&of, image, s(1), s(21), ROOM).unwrap();
    assert_eq!(
        (world.snapshots.counts(), world.book.booked_bytes()),
        ((0, 0, 0), 0)
    );
}

#[test]
fn an_image_that_was_dropped_is_booked_while_somebody_lives_from_it() {
    let world = World::new();
    let of = of(A, 1);
    world.made(&of, 10, s(0)).unwrap();
    let hand = world.snapshots.at_hand(&of, s(1), &CONFIG);
    // What an instance keeps: not the image itself, whose last descriptor must close.
    let lives = hand.image.map(|image| image.memory);
    world.snapshots.forget(&of);
    assert_eq!(world.snapshots.counts(), (0, 10, 0));
    assert_eq!(world.book.booked_bytes(), 10);
    drop(lives);
    assert_eq!(world.snapshots.counts(), (0, 0, 0));
    assert_eq!(world.book.booked_bytes(), 0);
}

#[test]
fn what_instances_live_from_counts_on_the_limit_and_is_not_dropped_in_vain() {
    let world = World::new();
    let (first, second, third) = (of(A, 1), of(A, 2), of(A, 3));
    let lives = |of: &SnapshotOf, now| {
        let hand = world.snapshots.at_hand(of, s(now), &CONFIG);
        hand.image.map(|image| image.memory).unwrap()
    };
    world.made(&first, 30, s(0)).unwrap();
    world.made(&second, 20, s(0)).unwrap();
    let of_first = lives(&first, 1);
    // The least used would be the first, of which nothing would become free.
    assert_eq!(world.start(&second, s(2)), (true, false));
    world.made(&third, 30, s(3)).unwrap();
    assert_eq!(world.start(&second, s(4)), (false, false));
    let of_third = lives(&third, 5);
    assert!(!world.snapshots.drop_one(s(30)));
    // A new image of the first does not fit beside the old one; the old one stays.
    let in_use = NoRoom::InUse {
        used_bytes: 60,
        limit_bytes: 60,
    };
    assert_eq!(world.made(&first, 30, s(6)), Err(in_use));
    world.snapshots.gave_up(&first, s(26));
    assert_eq!(world.start(&first, s(7)), (true, false));
    // Nor do others, when it was dropped and is lived from.
    world.snapshots.unfit(&first, s(30));
    assert_eq!(world.snapshots.counts(), (1, 60, 0));
    let in_use = NoRoom::InUse {
        used_bytes: 60,
        limit_bytes: 60,
    };
    assert_eq!(world.made(&second, 20, s(8)), Err(in_use));
    drop(of_first);
    world.made(&second, 20, s(9)).unwrap();
    assert_eq!(world.snapshots.counts(), (2, 50, 0));
    drop(of_third);
    assert_eq!(world.book.booked_bytes(), 50);
}

#[test]
fn the_machine_gets_the_least_used_one_back() {
    let world = World::new();
    let (first, second) = (of(A, 1), of(A, 2));
    world.made(&first, 10, s(0)).unwrap();
    world.made(&second, 10, s(0)).unwrap();
    world.start(&first, s(1));
    assert!(world.snapshots.drop_one(s(30)));
    assert_eq!(world.start(&second, s(2)), (false, false));
    assert_eq!(world.start(&second, s(30)), (false, true));
    assert!(world.snapshots.drop_one(s(30)));
    assert!(!world.snapshots.drop_one(s(30)));
}

#[test]
fn room_follows_the_machine_unless_it_is_set() {
    let room = Room::of(&CONFIG, 1 << 33);
    assert_eq!((room.node_bytes, room.tenant_bytes), (1 << 30, 1 << 29));
    let set = SnapshotConfig {
        memory: Some(freehold_domain::ids::Mebibytes(4)),
        tenant_memory: Some(freehold_domain::ids::Mebibytes(8)),
        ..CONFIG
    };
    let room = Room::of(&set, 1 << 33);
    assert_eq!((room.node_bytes, room.tenant_bytes), (4 << 20, 4 << 20));
}
