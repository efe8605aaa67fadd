//! The book's one table of limits: what each is here and on AWS, who sets it, what answers past it
//! and which test crosses it.
//!
//! Names, defaults and bounds come from the table of keys and from that of tenants' limits; what
//! they cannot know stands here, once for each. Where AWS has a default, it is ours too.

use super::{LimitRow, may_lift, told};
use crate::config::{KEYS, Key, Preset};
use freehold_domain::{
    TenantLimit,
    limits::Limits,
    tenant_limits::{Beside, TENANT_LIMITS},
};
use std::collections::BTreeSet;

/// A limit: of the node, of tenants, or of both.
struct Line {
    key: Option<&'static str>,
    own: Option<TenantLimit>,
    /// AWS's default, in our words for such a value.
    aws: Aws,
    /// What is heard past it.
    past: &'static str,
    /// Tests that cross it.
    tests: &'static [&'static str],
}

/// What AWS has by default.
enum Aws {
    /// No such limit.
    None,
    /// This, and so have we.
    Same(&'static str),
}
use Aws::{None as Nothing, Same};

const TENANT: &str = "tests/tenant_limits_test.py::";
const TOO_LARGE: &str = "413 `RequestEntityTooLargeException`";
const INVALID: &str = "400 `InvalidParameterValueException`";
const VALIDATION: &str = "400 `ValidationException`";
const NOT_NOW: &str = "503 `ServiceUnavailableException` with Retry-After";

macro_rules! lines {
    (@own -) => { None };
    (@own ($own:ident)) => { Some(TenantLimit::$own) };
    ($($key:literal $own:tt $aws:expr, $past:expr, [$($test:literal),+];)*) => {
        const LINES: &[Line] = &[$(Line {
            key: match $key.as_bytes() { [] => None, _ => Some($key) },
            own: lines!(@own $own),
            aws: $aws,
            past: $past,
            tests: &[$($test),+],
        },)*];
    };
}

lines! {
    "account_concurrency" (Concurrency) Same("1000"),
        "429 `TooManyRequestsException`, reason `ConcurrentInvocationLimitExceeded`",
        ["tests/concurrency_test.py::test_past_the_account_the_reason_is_the_accounts"];
    "unreserved_concurrency_min" - Same("100"), INVALID,
        ["tests/concurrency_test.py::test_too_much_cannot_be_reserved"];
    "sync_invocations" (SyncInvocations) Same("ten times account_concurrency"),
        "429 `TooManyRequestsException`, reason `FunctionInvocationRateLimitExceeded`, with Retry-After",
        ["::test_invocations_in_a_second"];
    "function_starts" (FunctionStarts) Same("1000"),
        "429 `TooManyRequestsException`, reason `ConcurrentInvocationLimitExceeded`, with Retry-After, where no instance is free; nothing is started ahead",
        ["::test_instances_of_one_function_that_start_in_ten_seconds"];
    "" (Starts) Nothing,
        "429 `TooManyRequestsException`, reason `FunctionInvocationRateLimitExceeded`, with Retry-After, where no instance is free; nothing is started ahead",
        ["::test_instances_that_start_in_a_second"];
    "management" (Management) Same("15"),
        "429 `TooManyRequestsException`, reason `CallerRateLimitExceeded`, with Retry-After",
        ["::test_calls_that_manage_in_a_second", "::test_the_rates_of_calls_are_aws_by_default"];
    "get_function" (GetFunction) Same("100"),
        "429 `TooManyRequestsException`, reason `CallerRateLimitExceeded`, with Retry-After",
        ["::test_calls_that_manage_in_a_second", "::test_the_rates_of_calls_are_aws_by_default"];
    "" (Requests) Nothing,
        "429 `TooManyRequestsException`, reason `CallerRateLimitExceeded`, with Retry-After",
        ["::test_requests_in_a_second", "::test_who_calls_its_urls_counts_too"];
    "" (Connections) Nothing, "429 `TooManyRequestsException`, reason `CallerRateLimitExceeded`, and the connection is closed",
        ["::test_connections"];
    "bytes_in_flight" (BytesInFlight) Nothing, NOT_NOW, ["::test_bytes_in_flight"];
    "header" (Header) Nothing, "431",
        ["::test_the_head_of_a_request", "tests/limits_test.py::test_too_many_header_bytes_are_refused"];
    "sync_payload" (SyncPayload) Same("6MiB"),
        "413 `RequestEntityTooLargeException`; 200 with `Function.ResponseSizeTooLarge` for an answer",
        ["tests/limits_test.py::test_a_longer_event_is_refused",
         "tests/limits_test.py::test_an_answer_over_6_mib_is_the_functions_error_as_recorded",
         "::test_payloads_and_answers"];
    "async_payload" (AsyncPayload) Same("1MiB"), TOO_LARGE,
        ["tests/limits_test.py::test_an_asynchronous_event_of_1_mib_passes_and_a_longer_is_refused",
         "::test_payloads_and_answers"];
    "" (Functions) Nothing, INVALID, ["tests/tenants_test.py::test_a_tenants_limits_are_its_own"];
    "" (Versions) Nothing, INVALID, ["::test_what_a_function_may_be"];
    "code_storage" (CodeStorage) Same("75GiB"), "400 `CodeStorageExceededException`",
        ["tests/tenants_test.py::test_a_tenants_limits_are_its_own"];
    "package_zip" - Same("50MiB"), TOO_LARGE,
        ["tests/packages_test.py::test_a_package_over_50_mb_is_refused"];
    "package_unpacked" - Same("250MiB"), INVALID,
        ["tests/packages_test.py::test_over_the_unpacked_limit_answers_as_recorded"];
    "package_entries" - Nothing, INVALID,
        ["tests/limits_test.py::test_entries_of_a_package_and_the_time_of_an_init",
         "crates/control/tests/archive.rs::a_million_entries_are_refused_by_their_number_alone"];
    "environment" (Environment) Same("4KiB"), INVALID,
        ["tests/functions_test.py::test_a_field_outside_its_bounds_is_refused", "::test_what_a_function_may_be"];
    "function_timeout" (Timeout) Same("15m"), "400 `ValidationException`; the run times out",
        ["::test_what_a_function_may_be"];
    "memory_max" (Memory) Same("10GiB"), VALIDATION,
        ["tests/functions_test.py::test_a_field_outside_its_bounds_is_refused", "::test_what_a_function_may_be"];
    "tmp_max" - Same("10GiB"), VALIDATION,
        ["tests/functions_test.py::test_a_field_outside_its_bounds_is_refused"];
    "init_timeout" - Same("10s"), "as on Lambda: run again within the invocation",
        ["tests/limits_test.py::test_entries_of_a_package_and_the_time_of_an_init",
         "crates/engine/tests/outcomes.rs::inits_that_fail_say_why_and_then_back_off"];
    "instance_pids" - Same("1024"), "`EAGAIN` inside",
        ["tests/limits_test.py::test_processes_are_limited"];
    "instance_descriptors" - Same("1024"), "`EMFILE` inside",
        ["tests/limits_test.py::test_descriptors_are_limited"];
    "log_line" - Same("256KiB"), "cut, and marked",
        ["tests/logs_test.py::test_an_endless_line_is_cut_and_the_call_ends"];
    "log_rate" - Nothing, "lines are counted lost, and the log says how many",
        ["tests/logs_test.py::test_a_flood_is_counted_to_the_line"];
    "" (LogRate) Nothing, "lines are dropped and counted, and the log says how many",
        ["::test_log_bytes_in_a_second"];
    "" (StoredLogs) Nothing, "streams of instances that have ended go, the oldest first, within a minute",
        ["::test_what_is_over_or_past_or_unused_goes_by_itself"];
    "" (LogAge) Nothing, "they go within a minute, whole streams at a time",
        ["::test_what_is_over_or_past_or_unused_goes_by_itself"];
    "async_attempts" - Same("3"), "the event ends as dead",
        ["tests/events_test.py::test_a_failing_event_is_tried_three_times_with_one_id",
         "crates/flow/tests/queue.rs::a_function_that_fails_is_tried_three_times_with_one_id"];
    "async_event_age" - Same("6h"), "the event ends as dead",
        ["tests/clock_test.py::test_an_event_ends_at_its_age_over_a_step_and_a_restart",
         "crates/flow/tests/queue.rs::throttles_do_not_count_and_end_with_the_events_age"];
}

impl Line {
    fn key(&self) -> Option<&'static Key> {
        let name = self.key?;
        let is_it = |key: &&Key| (key.section, key.name) == ("limits", name);
        Some(KEYS.iter().find(is_it).expect("the key is in the table"))
    }

    fn row(&self) -> Option<&'static LimitRow> {
        self.own.map(TenantLimit::row)
    }

    /// What it bounds.
    fn about(&self) -> &'static str {
        let of_tenants = self.row().map(|row| row.about.trim());
        let of_node = self.key().map(Key::about);
        of_tenants.or(of_node).expect("it is somebody's")
    }

    /// What holds where nobody says otherwise.
    fn preset(&self) -> String {
        match self.key().map(Key::preset) {
            Some(Preset::Is(value)) => value.to_string(),
            Some(Preset::Made(words)) => words.to_owned(),
            None => "none".to_owned(),
        }
    }

    /// The flag of `freehold tenants limits` and what it takes.
    fn own(&self) -> String {
        let Some(row) = self.row() else {
            return String::new();
        };
        let (least, most) = match row.beside {
            Beside::Below => (told(row, row.least), "the node's".to_owned()),
            Beside::InsteadOrNone => (format!("none, {}", told(row, 1)), told(row, row.most)),
            Beside::Instead | Beside::Nothing => (told(row, row.least), told(row, row.most)),
        };
        let note = match row.limit {
            TenantLimit::BytesInFlight => "; half of the node's by default",
            _ => "",
        };
        format!("`--{}`, {least} to {most}{note}", row.flag)
    }
}

fn page() -> String {
    let mut page = "| what it bounds | default | AWS's | key below `[limits]` | an account's own | past it | crossed by |\n|---|---|---|---|---|---|---|\n".to_owned();
    for line in LINES {
        let key = line
            .key
            .map_or_else(|| "none".to_owned(), |key| format!("`{key}`"));
        let own = match line.own() {
            none if none.is_empty() => "none".to_owned(),
            own => own,
        };
        let aws = match line.aws {
            Nothing => "none",
            Same(value) => value,
        };
        let tests = line.tests.iter().map(|test| match test.strip_prefix("::") {
            Some(name) => format!("`{TENANT}{name}`"),
            None => format!("`{test}`"),
        });
        page.push_str(&format!(
            "| {} | {} | {aws} | {key} | {own} | {} | {} |\n",
            line.about(),
            line.preset(),
            line.past,
            tests.collect::<Vec<_>>().join(", "),
        ));
    }
    page
}

#[test]
fn every_limit_has_one_line_and_where_aws_has_a_default_it_is_ours() {
    let (mut keys, mut own) = (BTreeSet::new(), BTreeSet::new());
    for line in LINES {
        let preset = line.preset();
        match line.aws {
            Same(aws) => assert_eq!(preset, aws, "{:?}", line.key),
            Nothing => {}
        }
        assert!(
            line.key.is_none_or(|key| keys.insert(key)),
            "{:?}",
            line.key
        );
        assert!(line.own.is_none_or(|one| own.insert(one)), "{:?}", line.own);
        // The two tables name the same key, and have the same default.
        let Some(row) = line.row() else {
            continue;
        };
        assert_eq!(row.key, line.key, "{}", row.name);
        if row.limit != TenantLimit::BytesInFlight && line.key != Some("sync_invocations") {
            let value = (row.preset)(&Limits::default());
            let value = value.map_or_else(|| "none".to_owned(), |value| told(row, value));
            let value = value.trim_end_matches("/10s").trim_end_matches("/s");
            assert_eq!(value, preset, "{}", row.name);
        }
        assert_eq!(may_lift(row), row.beside == Beside::InsteadOrNone);
    }
    let all = KEYS.iter().filter(|key| key.section == "limits");
    assert_eq!(keys, all.map(|key| key.name).collect());
    assert_eq!(own, TENANT_LIMITS.iter().map(|row| row.limit).collect());
}

/// `FREEHOLD_BLESS=1` with this test writes the book's table.
#[test]
fn the_book_has_every_limit_as_the_tables_have_it() {
    const BEGIN: &str =
        "<!-- limits: written by the test of cli/tenants/book.rs from the tables -->\n";
    const END: &str = "<!-- end of limits -->";
    crate::book::check_table("limits.md", [BEGIN, END], &page());
}
