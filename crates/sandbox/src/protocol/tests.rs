//! Every message comes back as it went, and nothing else is one.

use super::*;
use crate::start_image::ObstacleKind;
use freehold_domain::NetworkBytes;
use proptest::prelude::*;

const START: Start = Start {
    token: 7,
    runtime: 3,
    memory_mib: 128,
    tmp_mib: 512,
    pids: 1024,
    descriptors: 1024,
    cpu_weight: 74,
    cpu_quota_us: 0,
    carries: CARRIES_PACKAGE | CARRIES_IMAGE,
    network: 1,
};
const SPECIALISE: Specialise = Specialise {
    token: 7,
    number: 8,
    memory_mib: 128,
    tmp_mib: 512,
    pids: 1024,
    cpu_weight: 74,
    cpu_quota_us: 0,
    network: 2,
};
const ADMIT: Request = Request::Admit {
    token: 7,
    network: 2,
    address: 0x0a00_0005,
    first: 5432,
    last: 5433,
    lives_s: 60,
};

#[test]
fn a_request_comes_back_as_it_went() {
    for request in [
        Request::Hello { version: VERSION },
        Request::Start(START),
        Request::Specialise(SPECIALISE),
        Request::TakeImage {
            token: 1,
            number: 2,
            within_ms: 3,
        },
        Request::Freeze {
            token: 1,
            number: 2,
        },
        Request::Thaw {
            token: 1,
            number: 2,
        },
        Request::Usage {
            token: 1,
            number: u64::MAX,
        },
        Request::Destroy { number: 2 },
        Request::List { token: 9 },
        ADMIT,
        Request::Weigh {
            number: 2,
            cpu_weight: 74,
        },
    ] {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
}

#[test]
fn a_reply_comes_back_as_it_went() {
    let usage = InstanceUsage {
        memory_bytes: 1,
        memory_peak_bytes: 2,
        shared_bytes: 6,
        cpu_us: 3,
        oom_kills: 4,
        pids: 5,
        network: NetworkBytes { out: 7, back: 8 },
    };
    for reply in [
        Reply::Welcome {
            version: 1,
            lane: 2,
            instances_max: 3,
            images: 4,
        },
        Reply::Image { token: 1, bytes: 2 },
        Reply::ImageRefused {
            token: 1,
            obstacle: ObstacleKind::Threads.of(2),
        },
        Reply::SetupFailed { step: 4, errno: 13 },
        Reply::Started {
            token: 1,
            number: 2,
        },
        Reply::Launched {
            token: 1,
            number: 2,
        },
        Reply::Failed {
            token: 1,
            refusal: Refusal::Step,
            detail: 3,
            errno: -1,
        },
        Reply::Used { token: 8, usage },
        Reply::Listed {
            token: 1,
            number: 2,
            runtime: 3,
        },
        Reply::Exited {
            number: 1,
            cause: Cause::OutOfMemory,
            value: 9,
            usage,
        },
        Reply::Refused { count: 12 },
    ] {
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }
}

#[test]
fn half_a_message_and_one_and_a_half_are_refused() {
    let whole = Request::Start(START).encode();
    for cut in 0..whole.len() {
        assert_eq!(Request::decode(&whole[..cut]), Err(Malformed::Short));
    }
    let mut longer = whole;
    longer.push(0);
    assert_eq!(Request::decode(&longer), Err(Malformed::Long));
}

#[test]
fn numbers_outside_their_range_are_refused() {
    let without = |change: fn(&mut Start)| {
        let mut start = START;
        change(&mut start);
        Request::decode(&Request::Start(start).encode())
    };
    let range = |field| Err(Malformed::Range { field });
    assert_eq!(without(|s| s.memory_mib = 0), range("memory"));
    assert_eq!(without(|s| s.tmp_mib = u32::MAX), range("tmp"));
    // There is no volume of that size, so no start can ask for it.
    assert_eq!(
        without(|s| s.tmp_mib = crate::volumes::SIZE_MAX_MIB + 1),
        range("tmp")
    );
    assert!(without(|s| s.tmp_mib = crate::volumes::SIZE_MAX_MIB).is_ok());
    assert_eq!(without(|s| s.pids = 0), range("pids"));
    assert_eq!(without(|s| s.descriptors = 3), range("descriptors"));
    assert_eq!(without(|s| s.cpu_weight = 0), range("cpu weight"));
    assert_eq!(without(|s| s.cpu_quota_us = u32::MAX), range("cpu quota"));
    assert_eq!(without(|s| s.carries = 8), range("carries"));
    let last = 1 + freehold_domain::network::POLICIES_MAX as u32;
    assert_eq!(without(|s| s.network = u32::MAX), range("network"));
    assert!(without(|s| s.network = 65).is_ok() && last == 65);
    let with = |change: fn(&mut Specialise)| {
        let mut specialise = SPECIALISE;
        change(&mut specialise);
        Request::decode(&Request::Specialise(specialise).encode())
    };
    assert_eq!(with(|s| s.memory_mib = 0), range("memory"));
    assert_eq!(with(|s| s.tmp_mib = 0), range("tmp"));
    assert_eq!(with(|s| s.pids = 0), range("pids"));
    for cpu_weight in [0, bounds::CPU_WEIGHT.end() + 1] {
        let weigh = Request::Weigh {
            number: 2,
            cpu_weight,
        };
        assert_eq!(Request::decode(&weigh.encode()), range("cpu weight"));
    }
    for (first, last, lives_s, field) in [
        (0, 1, 1, "port"),
        (1, 65_536, 1, "port"),
        (1, 1, 0, "time"),
        (1, 1, 7201, "time"),
    ] {
        let admit = Request::Admit {
            token: 1,
            network: 2,
            address: 1,
            first,
            last,
            lives_s,
        };
        assert_eq!(Request::decode(&admit.encode()), range(field));
    }
    for within_ms in [0, 60_001] {
        let take = Request::TakeImage {
            token: 1,
            number: 2,
            within_ms,
        };
        assert_eq!(Request::decode(&take.encode()), range("time"));
    }
}

proptest! {
    #[test]
    fn no_packet_panics_and_what_decodes_encodes_the_same(packet in prop::collection::vec(any::<u8>(), 0..96)) {
        if let Ok(request) = Request::decode(&packet) {
            prop_assert_eq!(request.encode(), packet.clone());
        }
        if let Ok(reply) = Reply::decode(&packet) {
            prop_assert_eq!(reply.encode(), packet.clone());
        }
        let _ = Notice::decode(&packet);
    }
}
