#!/usr/bin/env bash
# `make test`: every stage runs, whatever the stages before it did; the last line counts.
# `make faults`, `make soak` and `make languages` run a part: scripts/test.sh faults|soak|languages.
#
# A stage that is one check counts as one. Nothing is skipped without its reason on a line.
source "$(dirname "$0")/lib.sh"
set +e

part=${1:-all}
passed=0 failed=0 skipped=0
failures=()
started=$SECONDS

count() { passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3)); }

# finish: prints the sum and ends with it.
finish() {
  local line="$passed passed, $failed failed, $skipped skipped"
  [ ${#failures[@]} = 0 ] || { say; step "failed"; printf '    %s\n' "${failures[@]}"; }
  note "$((SECONDS - started)) s in all"
  [ -z "${FREEHOLD_COUNTS_FILE:-}" ] || say "$line" >"$FREEHOLD_COUNTS_FILE"
  say "$line"
  [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
  exit $?
}

# check NAME COMMAND…: one check, counted as one.
check() {
  local name=$1 begun=$SECONDS
  shift
  step "$name"
  if "$@"; then
    count 1 0 0
    note "passed in $((SECONDS - begun)) s"
  else
    count 0 1 0
    failures+=("$name")
  fi
}

# quietly COMMAND…: its output only when it fails.
quietly() {
  local log=$work/quiet.log
  "$@" >"$log" 2>&1 || { cat "$log"; return 1; }
}

skip() {
  say "SKIPPED $1: $2"
  count 0 0 1
}

# Setting up is a check too: without what it gives the other stages would fail for odd reasons.
step "what the tests need"
if ! ("$ROOT/scripts/setup.sh" test); then
  count 0 1 0
  failures+=("setup: see its line above")
  finish
fi
(use_target_folder) || { count 0 1 0; failures+=("no usable Rust toolchain"); finish; }
use_target_folder
cd "$ROOT" || exit 2
work=$(mktemp -d "${TMPDIR:-/tmp}/freehold-make-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
# Data folders with assembled runtimes. Reached by the user that a server drops to, so not below
# root's closed home.
assembled=$CACHE/test-assembled
! is_root || assembled=/var/cache/freehold/test-assembled

# Licences and sources: the tool is built once per version and kept in the cache.
# Without default features it needs no TLS stack and no git; not optimised, since it checks for seconds.
DENY_VERSION=0.20.2
deny() {
  local root=$CACHE/tools/cargo-deny-$DENY_VERSION
  if ! [ -x "$root/bin/cargo-deny" ]; then
    note "building cargo-deny $DENY_VERSION into the cache, once"
    if ! CARGO_TARGET_DIR=$CACHE/tools/build cargo install --quiet --locked --debug --root "$root" \
      --version "$DENY_VERSION" --no-default-features cargo-deny; then
      rm -rf "$CACHE/tools/build"
      return 1
    fi
    rm -rf "$CACHE/tools/build"
  fi
  "$root/bin/cargo-deny" --log-level error --all-features --locked check licenses bans sources
}

# Binaries and tests in one go, so that all they share is compiled once. The features of what is
# shared are then those that any of them asks for: the binary under test is not bit by bit the one of
# `make run`, it has what tests ask of dependencies, tokio's clock that can be stopped among it.
everything() {
  rm -f "$FREEHOLD_BIN" # of an earlier run, should this one fail
  cargo build --quiet --locked --release --workspace --bins --tests --keep-going
}

# half NAME ARGUMENTS…: a part of the crates' tests. Each test has its line in the log, for the counts;
# on the screen only what is not plain success. The same targets as were built. Documentation has no
# examples to run: rustdoc would compile every crate again to find that out.
half() {
  local name=$1
  shift
  cargo test --locked --release --workspace --no-fail-fast "$@" 2>&1 | tee "$work/rust-$name.log" |
    grep -vE '^( +(Compiling|Downloaded|Downloading|Finished|Running|Blocking) |running [0-9]+ tests?$|test .* \.\.\. (ok|ignored.*)$|test result: ok\.|$)'
  return "${PIPESTATUS[0]}"
}

# The test programs of the crates but one, as cargo's arguments.
programs_but() {
  cargo metadata --locked --no-deps --format-version 1 | "$CACHE/venv/bin/python" -c '
import json, sys
targets = [t for package in json.load(sys.stdin)["packages"] for t in package["targets"]]
for name in sorted({t["name"] for t in targets if "test" in t["kind"]} - {sys.argv[1]}):
    print("--test", name)' "$1"
}

# The sandboxes' tests, which mostly wait for processes to end, side by side with all others.
rust_tests() {
  step "tests of the crates"
  local begun=$SECONDS status sandboxes others
  others=$(programs_but platform)
  half platform --test platform >"$work/platform.out" &
  sandboxes=$!
  # shellcheck disable=SC2086
  half others --lib --bins $others
  status=$?
  wait "$sandboxes" || status=$?
  cat "$work/platform.out"
  local sums
  sums=$(cat "$work"/rust-*.log | awk '/^test result: /{p+=$4; f+=$6; s+=$8} END{print p+0, f+0, s+0}')
  # shellcheck disable=SC2086
  count $sums
  if [ "$status" != 0 ]; then
    # A test binary that died, or code that does not build, has no line with counts.
    [ "$(cut -d' ' -f2 <<<"$sums")" != 0 ] || count 0 1 0
    failures+=("tests of the crates (exit $status)")
  fi
  cat "$work"/rust-*.log | grep -E '^test .* \.\.\. ignored' | sed 's/^test /SKIPPED /'
  note "$sums (passed, failed, skipped) in $((SECONDS - begun)) s"
}

# pytests ARGUMENTS…: runs them with the packages of the cache and adds their counts. Four files run
# side by side, two that compute and two that mostly wait (tests/support/order.py).
pytests() {
  local report=$work/pytest.xml status
  rm -f "$report"
  mkdir -p "$assembled"
  PYTHONDONTWRITEBYTECODE=1 FREEHOLD_NODE_MODULES=$CACHE/node/node_modules FREEHOLD_CACHE=$CACHE \
    FREEHOLD_TEST_ASSEMBLED=$assembled \
    PATH=$CACHE/venv/bin:$PATH "$CACHE/venv/bin/python" -m pytest -p no:cacheprovider \
    --quiet -rsfE --durations=20 --durations-min=2 \
    --numprocesses 4 --dist loadfile --junitxml="$report" "$@"
  status=$?
  local sums
  sums=$("$CACHE/venv/bin/python" - "$report" <<'PY'
import sys, xml.etree.ElementTree as tree
try:
    suites = tree.parse(sys.argv[1]).getroot().iter("testsuite")
except (OSError, tree.ParseError):
    suites = []
total = failed = skipped = 0
for suite in suites:
    total += int(suite.get("tests"))
    failed += int(suite.get("failures")) + int(suite.get("errors"))
    skipped += int(suite.get("skipped"))
print(max(total - failed - skipped, 0), failed, skipped)
PY
  )
  # shellcheck disable=SC2086
  count $sums
  if [ "$status" != 0 ]; then
    [ "$(cut -d' ' -f2 <<<"$sums")" != 0 ] || count 0 1 0
    failures+=("pytest $* (exit $status)")
  fi
}

# The assembled runtimes of the tests serve here too: a first start would copy them anew each time.
# All but `hangups`, which watches for a minute what is left, and `compiled`, which fetches SDKs.
smoke() {
  FREEHOLD_BENCH=$CARGO_TARGET_DIR/release/freehold-bench FREEHOLD_TEST_ASSEMBLED=$assembled \
    quietly "$ROOT/benches/run.sh" --smoke \
    warm cold networks spares idle throughput instructions growth burst density flood front neighbours \
    tenants backups calls wasm keep
}

# What the smoke's benches say that they missed. A bench that could not measure is skipped, for the reason
# that it gives; rows that a busy machine had no time for, and a goal that so few samples say nothing of,
# are shown.
missed() {
  local line
  while IFS= read -r line; do
    case $line in
      'missed: the goal: '* | *': a smoke ends after '*) note "$line" ;;
      *) line=${line#missed: } && skip "${line%%: *}" "${line#*: }" ;;
    esac
  done < <(grep '^missed: ' "$work/quiet.log")
}

case $part in
  all)
    check "format" cargo fmt --all --check
    # In the profile of the build, so that both have the same macros, build scripts and C libraries.
    check "lints" cargo clippy --quiet --locked --release --workspace --all-targets -- -D warnings
    check "licences, bans, sources" deny
    check "binaries and tests build" everything
    check "layering" "$CARGO_TARGET_DIR/release/xtask" layering
    check "generated code is current" "$CARGO_TARGET_DIR/release/xtask" codegen --check
    rust_tests
    step "tests from outside"
    if [ -x "$FREEHOLD_BIN" ]; then
      pytests tests
      # A few samples, so that what measures keeps working; the figures say nothing.
      check "benches run" smoke
      missed
    else
      pytests tests/runtimes
      failures+=("tests from outside: there is no binary to test")
      count 0 1 0
    fi
    ;;
  faults)
    check "the release binary builds" build_binary
    step "faults and hostile input"
    SIBLINGS=1000 pytests -m 'not soak and not languages' tests/sandbox tests/siblings_test.py \
      tests/packages_test.py tests/limits_test.py tests/signature_test.py tests/events_test.py \
      tests/lifecycle_test.py tests/clock_test.py
    # At every step; `make test` has some of them.
    check "kills at each step" env KILL_STEPS=all cargo test --quiet --locked --release \
      -p freehold-sandbox --test platform -- at_each_step
    ;;
  soak)
    check "the release binary builds" build_binary
    step "soak"
    # One after the other, and told while it goes on: what grows is seen before the end.
    pytests -m soak --numprocesses 0 --capture no tests/soak_test.py tests/soak_kills_test.py
    ;;
  languages)
    check "the release binary builds" build_binary
    step "the examples' own tests"
    pytests -m languages tests/languages_test.py
    ;;
  *) die "no part '$part': scripts/test.sh [all|faults|soak|languages]" ;;
esac

finish
