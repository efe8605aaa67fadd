//! Guests from text, run through the seam as the engine runs them.

mod support;

use freehold_domain::{
    answers::Whose,
    limits::Limits,
    live::Live,
    ports::{CodeError, ExitCause, GuestAnswer, GuestStream, LinkError},
};
use freehold_wasm::limits;
use std::{sync::Arc, time::Duration};
use support::{World, call, echo, printing, spec};
use tokio::task::JoinSet;

/// What a command answered.
async fn text(answer: Result<GuestAnswer, LinkError>) -> String {
    match answer {
        Ok(GuestAnswer::Response { body, .. }) => {
            let (bytes, _) = body.collect(u64::MAX).await.unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        }
        other => panic!("no answer: {other:?}"),
    }
}

/// The type and message of a function's error.
fn error(answer: Result<GuestAnswer, LinkError>) -> (String, String) {
    match answer {
        Ok(GuestAnswer::Error {
            error_type, body, ..
        }) => {
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let message = body["errorMessage"].as_str().unwrap().to_owned();
            assert_eq!(body["errorType"].as_str(), error_type.as_deref());
            (error_type.unwrap(), message)
        }
        other => panic!("no error: {other:?}"),
    }
}

#[tokio::test]
async fn a_command_answers_what_it_writes() {
    let world = World::new();
    let one = world.start(&world.package(&echo()), 128).await.unwrap();
    for event in ["", "{\"a\":1}", "x".repeat(100_000).as_str()] {
        assert_eq!(text(one.link.handle(call(event)).await).await, event);
    }
}

#[tokio::test]
async fn a_large_answer_is_written_once_there_is_room() {
    let world = World::new();
    let one = world.start(&world.package(&echo()), 128).await.unwrap();
    let tenant = call("").function.tenant;
    let all = world.answers.ask(Whose::signed(&tenant), 256 << 20).await;
    let small = "x".repeat(60_000);
    assert_eq!(text(one.link.handle(call(&small)).await).await, small);
    let event = "x".repeat(100_000);
    // Whoever is given up leaves the line.
    let given_up = one.link.handle(call(&event));
    let waited = tokio::time::timeout(Duration::from_millis(50), given_up).await;
    assert!(waited.is_err(), "{waited:?}");
    let mut waiting = one.link.handle(call(&event));
    let waited = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(waited.is_err(), "{waited:?}");
    drop(all);
    let answer = waiting.await;
    assert_eq!(world.answers.held_bytes(), 100_000);
    assert_eq!(text(answer).await, event);
    assert_eq!((world.answers.held_bytes(), world.answers.waited()), (0, 2));
}

#[tokio::test]
async fn every_event_meets_a_fresh_instance() {
    // Counts its calls in a global and in memory, and prints the count.
    let counter = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (global $calls (mut i32) (i32.const 48))
        (func (export "_start")
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (i32.store8 (i32.const 100) (global.get $calls))
            (i32.store8 (i32.const 101) (i32.add (i32.const 49) (i32.load8_u (i32.const 200))))
            (i32.store8 (i32.const 200) (i32.add (i32.const 1) (i32.load8_u (i32.const 200))))
            (i32.store (i32.const 0) (i32.const 100))
            (i32.store (i32.const 4) (i32.const 2))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    let world = World::new();
    let one = world
        .start(&world.package(&printing(counter)), 128)
        .await
        .unwrap();
    for _ in 0..20 {
        assert_eq!(text(one.link.handle(call("")).await).await, "11");
    }
}

#[tokio::test]
async fn a_trap_and_an_exit_are_the_functions_errors() {
    let world = World::new();
    let body = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)"#;
    let trap = format!("(module {body} (func $guilty (export \"_start\") unreachable))");
    let one = world
        .start(&world.package(&printing(&trap)), 128)
        .await
        .unwrap();
    let (kind, message) = error(one.link.handle(call("")).await);
    assert_eq!(kind, "Runtime.Trap");
    assert!(message.contains("unreachable"), "{message}");
    let log = world.log(GuestStream::Stderr);
    assert!(
        log.contains("unreachable") && log.contains("guilty"),
        "{log}"
    );
    let exit = format!("(module {body} (func (export \"_start\") (call $exit (i32.const 3))))");
    let one = world
        .start(&world.package(&printing(&exit)), 128)
        .await
        .unwrap();
    let (kind, message) = error(one.link.handle(call("")).await);
    assert_eq!(kind, "Runtime.ExitError");
    assert!(message.ends_with("exit status 3"), "{message}");
    // The instance goes on: each event is a new one.
    assert_eq!(
        error(one.link.handle(call("")).await).0,
        "Runtime.ExitError"
    );
    let good = format!("(module {body} (func (export \"_start\") (call $exit (i32.const 0))))");
    let one = world
        .start(&world.package(&printing(&good)), 128)
        .await
        .unwrap();
    assert_eq!(text(one.link.handle(call("")).await).await, "");
}

/// Grows by 1 MiB until it is refused, then gives up; with an event it answers instead.
const GREEDY: &str = r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 0) (i32.const 100))
            (i32.store (i32.const 4) (i32.const 1))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (loop $more
                (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
            (if (i32.eqz (i32.load (i32.const 8))) (then unreachable))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[tokio::test]
async fn memory_ends_at_the_functions_limit() {
    let world = World::new();
    let package = world.package(&printing(GREEDY));
    let one = world.start(&package, 128).await.unwrap();
    assert_eq!(text(one.link.handle(call("y")).await).await, "y");
    let peak = one.instance.spent().unwrap().memory_peak_bytes;
    assert!((127 << 20..=128 << 20).contains(&peak), "{peak}");
    let gone = one.link.handle(call("")).await;
    assert!(matches!(gone, Err(LinkError::Closed)), "{gone:?}");
    let report = one.instance.exited().await;
    assert_eq!(report.cause, ExitCause::OutOfMemory);
    assert_eq!(report.usage.oom_kills, 1);
    assert!(matches!(
        one.link.handle(call("y")).await,
        Err(LinkError::Closed)
    ));
}

#[tokio::test]
async fn a_guest_that_computes_holds_no_thread_and_ends_when_it_is_dropped() {
    let endless =
        "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop $l (br $l))))";
    let world = World::new();
    let one = world
        .start(&world.package(&printing(endless)), 128)
        .await
        .unwrap();
    // This runtime has one thread: were it held, nothing below would ever run.
    {
        let mut run = one.link.handle(call(""));
        let waited = tokio::time::timeout(std::time::Duration::from_secs(1), &mut run).await;
        assert!(waited.is_err(), "an endless loop answered");
    }
    let report = one.instance.destroy().await;
    assert_eq!(report.cause, ExitCause::Destroyed);
    assert!(report.usage.cpu_us > 1000, "{report:?}");
    assert_eq!(one.instance.exited().await, report);
}

#[tokio::test]
async fn destroying_ends_a_guest_that_runs() {
    let endless =
        "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop $l (br $l))))";
    let world = World::new();
    let one = world
        .start(&world.package(&printing(endless)), 128)
        .await
        .unwrap();
    let (answer, report) = tokio::join!(one.link.handle(call("")), async {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        one.instance.destroy().await
    });
    assert!(matches!(answer, Err(LinkError::Closed)));
    assert_eq!(report.cause, ExitCause::Destroyed);
}

#[tokio::test]
async fn an_answer_over_its_limit_is_refused() {
    let world = World::new();
    let package = world.package(&echo());
    let mut small = spec(&package, 128, world.output());
    let limits = Live::new(Limits {
        sync_payload_bytes: 1000,
        ..Limits::default()
    });
    small.limits = limits.clone();
    let one = world.host_start(small).await.unwrap();
    assert_eq!(
        text(one.link.handle(call(&"x".repeat(1000))).await)
            .await
            .len(),
        1000
    );
    let over = one.link.handle(call(&"x".repeat(1001))).await;
    assert!(
        matches!(
            over,
            Err(LinkError::TooLarge {
                limit_bytes: 1000,
                ..
            })
        ),
        "{over:?}"
    );
    // A ceiling that is raised holds for the next event of an instance that is there.
    limits.change(|limits| limits.sync_payload_bytes = 1001);
    let fits = text(one.link.handle(call(&"x".repeat(1001))).await).await;
    assert_eq!(fits.len(), 1001);
}

#[tokio::test]
async fn deep_recursion_traps() {
    let deep = "(module (memory (export \"memory\") 1)
        (func $f (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1)))
        (func (export \"_start\") (drop (call $f (i32.const 1)))))";
    let world = World::new();
    let one = world
        .start(&world.package(&printing(deep)), 128)
        .await
        .unwrap();
    let (kind, message) = error(one.link.handle(call("")).await);
    assert_eq!(kind, "Runtime.Trap");
    assert!(message.contains("stack"), "{message}");
}

#[tokio::test]
async fn bad_code_is_refused_by_what_is_wrong_with_it() {
    let world = World::new();
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("text", b"hello".to_vec(), "not WebAssembly"),
        ("broken", b"\0asm\x01\0\0\0\x01\xff".to_vec(), "offset"),
        (
            "library",
            wat::parse_str("(module (func (export \"f\")))").unwrap(),
            "_start",
        ),
        (
            "import",
            wat::parse_str(
                "(module (import \"env\" \"secret\" (func)) (func (export \"_start\")))",
            )
            .unwrap(),
            "secret",
        ),
        (
            "memory",
            wat::parse_str("(module (memory 4000) (func (export \"_start\")))").unwrap(),
            "250 MiB of memory",
        ),
        (
            "tables",
            wat::parse_str("(module (table 1000000 funcref) (func (export \"_start\")))").unwrap(),
            "table",
        ),
        (
            "component",
            wat::parse_str("(component)").unwrap(),
            "wasi:http/incoming-handler",
        ),
        (
            "component import",
            wat::parse_str("(component (import \"my:own/thing\" (func)))").unwrap(),
            "my:own/thing",
        ),
    ];
    for (name, module, wanted) in cases {
        match world.prepare(&world.package(&module), 128).await {
            Err(CodeError::Refused { reason }) => {
                assert!(reason.contains(wanted), "{name}: {reason}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_handler_names_a_file_of_the_package() {
    let world = World::new();
    let package = world.package(&echo());
    std::fs::create_dir(package.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", package.path().join("out.wasm")).unwrap();
    std::os::unix::fs::symlink("function.wasm", package.path().join("in.wasm")).unwrap();
    for (file, wanted) in [
        ("none.wasm", Some("none.wasm")),
        ("folder", Some("not a file")),
        ("out.wasm", Some("no file")),
        ("../x/function.wasm", Some("no file")),
        ("/etc/passwd", Some("no file")),
        ("./function.wasm", Some("no file")),
        ("folder//../function.wasm", Some("no file")),
        ("in.wasm", None),
        ("function.wasm", None),
    ] {
        let mut code = spec(&package, 128, world.output()).code;
        code.file = file.to_owned();
        let done = world.prepare_code(code, 128).await;
        match (done, wanted) {
            (Ok(()), None) => {}
            (Err(CodeError::Refused { reason }), Some(wanted)) => {
                assert!(reason.contains(wanted), "{file}: {reason}");
            }
            (other, _) => panic!("{file}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_compiled_is_not_compiled_again() {
    let world = World::new();
    let package = world.package(&echo());
    world.prepare(&package, 128).await.unwrap();
    world.prepare(&package, 128).await.unwrap();
    assert_eq!(world.compilations(), 1);
    // Another host on the same folder: from the file, unless the key is another one.
    let again = world.again([7; 32]);
    again.prepare(&package, 128).await.unwrap();
    assert_eq!(again.compilations(), 0);
    let other = world.again([8; 32]);
    other.prepare(&package, 128).await.unwrap();
    assert_eq!(other.compilations(), 1);
}

/// A module of the outside tests.
fn fixture(name: &str) -> Vec<u8> {
    let folder = "../../tests/functions/wasm";
    std::fs::read(format!("{folder}/{name}.wasm")).unwrap()
}

fn url_event(path: &str) -> String {
    serde_json::json!({
        "version": "2.0", "rawPath": path, "headers": {"host": "h"},
        "requestContext": {"http": {"method": "GET"}},
    })
    .to_string()
}

#[tokio::test]
async fn a_component_answers_a_request_as_the_url_wants_it() {
    let world = World::new();
    let one = world
        .start(&world.package(&fixture("http")), 128)
        .await
        .unwrap();
    let answer = async |path: &str| -> serde_json::Value {
        let answer = text(one.link.handle(call(&url_event(path))).await).await;
        serde_json::from_str(&answer).unwrap()
    };
    for _ in 0..3 {
        assert_eq!(
            answer("/a?b").await,
            serde_json::json!({
                "statusCode": 200, "headers": {}, "body": "/a?b", "isBase64Encoded": false,
            })
        );
    }
    assert_eq!(answer("/made").await["statusCode"], 201);
    assert_eq!(
        answer("/out").await["body"],
        "P",
        "an outgoing request was not denied"
    );
    // An event of no URL is posted to /.
    assert_eq!(text(one.link.handle(call("{}")).await).await, "/");
}

#[tokio::test]
async fn a_component_without_a_response_has_failed() {
    let world = World::new();
    let one = world
        .start(&world.package(&fixture("http")), 128)
        .await
        .unwrap();
    let none = error(one.link.handle(call(&url_event("/none"))).await);
    assert_eq!(none.0, "Http.NoResponse");
    let trap = error(one.link.handle(call(&url_event("/trap"))).await);
    assert_eq!(trap.0, "Runtime.Trap");
}

#[tokio::test]
async fn a_component_command_answers_and_fails() {
    let world = World::new();
    let one = world
        .start(&world.package(&fixture("command")), 128)
        .await
        .unwrap();
    assert_eq!(
        text(one.link.handle(call("{\"a\":1}")).await).await,
        "{\"a\":1}"
    );
    let failed = error(one.link.handle(call("")).await);
    assert_eq!(failed.0, "Runtime.ExitError");
}

#[tokio::test]
async fn nothing_of_the_machine_is_within_reach() {
    let world = World::new();
    let one = world
        .start(&world.package(&fixture("authority")), 128)
        .await
        .unwrap();
    let tried = text(one.link.handle(call("")).await).await;
    assert_eq!(tried, "1".repeat(40), "a 0 is an attempt that went through");
}

#[tokio::test]
async fn slots_and_memories_come_back() {
    let world = World::new();
    let package = world.package(&fixture("counter"));
    let mut seats = Vec::new();
    for _ in 0..16 {
        seats.push(world.start(&package, 128).await.unwrap());
    }
    // More events than the pool has memories, dropped half-way or run to their ends.
    for round in 0..100 {
        for (at, seat) in seats.iter().enumerate() {
            let mut run = seat.link.handle(call(""));
            if (round + at) % 3 == 0 {
                let polled = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(run.as_mut().poll(context).is_ready())
                });
                polled.await;
            } else {
                assert_eq!(text(run.await).await, "11");
            }
        }
    }
}

#[tokio::test]
async fn a_guest_gets_no_memory_that_the_node_does_not_have() {
    // A quarter for guests, half of that for one tenant: 32 MiB.
    let world = World::with_memory(256 << 20);
    let package = world.package(&printing(GREEDY));
    let one = world.start(&package, 128).await.unwrap();
    for _ in 0..3 {
        // What one event took is there for the next.
        assert_eq!(text(one.link.handle(call("y")).await).await, "y");
        let peak = one.instance.spent().unwrap().memory_peak_bytes;
        assert!((31 << 20..=32 << 20).contains(&peak), "{peak}");
        let refused = one.link.handle(call("")).await;
        assert!(
            matches!(refused, Err(LinkError::Busy { .. })),
            "{refused:?}"
        );
    }
    let more = printing("(module (memory 1024) (func (export \"_start\")))");
    let one = world.start(&world.package(&more), 128).await.unwrap();
    let refused = one.link.handle(call("")).await;
    assert!(
        matches!(refused, Err(LinkError::Busy { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn no_tenant_takes_every_place() {
    // Sleeps for an hour.
    let sleeper = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 16) (i32.const 1))
            (i64.store (i32.const 24) (i64.const 3600000000000))
            (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;
    let world = World::new();
    let package = world.package(&printing(sleeper));
    let mut events = JoinSet::new();
    for _ in 0..=limits::PLACES_PER_TENANT_MAX {
        let seat = world.start(&package, 128).await.unwrap();
        events.spawn(async move { seat.link.handle(call("")).await });
    }
    let first = events.join_next().await.unwrap().unwrap();
    assert!(matches!(first, Err(LinkError::Busy { .. })), "{first:?}");
    let package = world.package(&echo());
    let mut others = spec(&package, 128, world.output());
    others.code.tenant = "210987654321".parse().unwrap();
    let other = world.host_start(others).await.unwrap();
    assert_eq!(text(other.link.handle(call("x")).await).await, "x");
}

#[tokio::test]
async fn code_that_waits_to_be_compiled_has_a_limit() {
    let world = Arc::new(World::new());
    world.hold_compiler();
    let most = limits::COMPILES_WAITING_PER_TENANT_MAX;
    let mut deploys = JoinSet::new();
    for _ in 0..=most {
        let world = world.clone();
        deploys.spawn(async move {
            let package = world.package(&echo());
            world.prepare(&package, 128).await
        });
    }
    // All others wait, and all of them but one for their turn: they have read nothing yet.
    let first = deploys.join_next().await.unwrap().unwrap();
    assert!(
        matches!(first, Err(CodeError::Failed { is_busy: true, .. })),
        "{first:?}"
    );
    assert_eq!(world.compilations(), 1);
    world.let_compiler_go();
    while let Some(done) = deploys.join_next().await {
        assert_eq!(done.unwrap(), Ok(()));
    }
    assert_eq!(world.compilations(), most);
}
