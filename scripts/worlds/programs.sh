# shellcheck shell=bash
# The programs of the suites of `make test-rootless` and `make test-v2`, built on the machine
# itself as `make test` builds them, and the counts. Sourced after lib.sh, never run.

# Uid and gid of the ordinary user that root makes for the suites: a number without an account, so that
# nothing of it is left on the machine whatever happens.
SUITES_UID=${SUITES_UID:-59421}

# build_programs FILE: builds what the suites run and writes where it lies to FILE, as assignments.
# With what `make test` has built this takes seconds. SUITES_PROGRAMS names such a file of an earlier run,
# whose programs are taken as they are.
build_programs() {
  if [ -n "${SUITES_PROGRAMS:-}" ]; then
    cp "$SUITES_PROGRAMS" "$1"
    return
  fi
  local messages=$work/messages probe=$work/probe
  step "binaries and tests build"
  (cd "$ROOT" && cargo build --quiet --locked --release --workspace --bins --tests \
    --message-format json-render-diagnostics) >"$messages" || die "the build failed; the compiler's words stand above"
  (cd "$ROOT" && cargo build --quiet --locked --package freehold-sandbox --features mutation --example escape \
    --message-format json-render-diagnostics) >>"$messages" || die "the build failed; the compiler's words stand above"
  rustc --edition 2024 -O -C target-feature=+crt-static -o "$probe" "$ROOT/tests/sandbox/probe.rs" ||
    die "the probe of the escape list does not build"
  "$CACHE/venv/bin/python" - "$messages" <<'PY' >"$1" || die "cargo did not say where the programs are"
import json, shlex, sys
wanted = {"FREEHOLD_BIN": ("bin", "freehold", False), "SUITES_PLATFORM": ("test", "platform", True),
          "SUITES_UNITS": ("lib", "freehold_sandbox", True), "FREEHOLD_TEST_ESCAPE": ("example", "escape", False)}
found = {}
for line in open(sys.argv[1]):
    message = json.loads(line)
    if not message.get("executable"):
        continue
    kind, name, test = message["target"]["kind"][0], message["target"]["name"], message["profile"]["test"]
    for variable, one in wanted.items():
        if one == (kind, name, test):
            found[variable] = message["executable"]
for variable in wanted:
    print(f"{variable}={shlex.quote(found[variable])}")
PY
  {
    printf 'FREEHOLD_TEST_PROBE=%q\n' "$probe"
    printf 'SUITES_VENV=%q\n' "$(readlink -f "$CACHE/venv")"
    printf 'FREEHOLD_NODE_MODULES=%q\n' "$(readlink -f "$CACHE/node")/node_modules"
  } >>"$1"
}

# needed_folders: what an ordinary user must be able to reach to run them, one folder a line.
needed_folders() {
  printf '%s\n' "$ROOT" "$CACHE" "$CARGO_TARGET_DIR" "$work"
  "$CACHE/venv/bin/python" -c 'import sys; print(sys.base_prefix)'
}

# finish_counts FILE: sums the lines "passed failed skipped" and says the sum, last.
finish_counts() {
  local sums passed failed skipped
  sums=$(awk '{p += $1; f += $2; s += $3} END {print p + 0, f + 0, s + 0}' "$1" 2>/dev/null || say "0 0 0")
  read -r passed failed skipped <<<"$sums"
  [ -z "${FREEHOLD_COUNTS_FILE:-}" ] || say "$passed passed, $failed failed, $skipped skipped" >"$FREEHOLD_COUNTS_FILE"
  say "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# delegate UID: a control group (v2) with controllers that is this user's, as systemd delegates one; prints its
# folder, or nothing where the machine hands no controllers down. Its child `suites` is for the tests.
delegate() {
  local top=/sys/fs/cgroup group file
  for file in memory pids cpu; do
    grep -qw "$file" "$top/cgroup.subtree_control" 2>/dev/null || return 0
  done
  group=$top/suites-$$-$1
  mkdir "$group" "$group/suites"
  echo "+memory +pids +cpu" >"$group/cgroup.subtree_control"
  for file in "" /cgroup.procs /cgroup.threads /cgroup.subtree_control; do
    chown "$1:$1" "$group$file" "$group/suites$file"
  done
  say "$group"
}

# no_process_of USER: whether none of the user is left; prints that as counts, says it on the other side.
no_process_of() {
  step "no process of the user is left" >&2
  for _ in $(seq 100); do
    pgrep -u "$1" >/dev/null || break
    sleep 0.1
  done
  if pgrep -u "$1" -l >&2; then say "0 1 0"; else say "1 0 0"; fi
}

# in_group GROUP COMMAND…: runs it in GROUP/suites, or where we are when GROUP is empty.
in_group() {
  local group=$1
  shift
  (
    [ -z "$group" ] || echo "$BASHPID" >"$group/suites/cgroup.procs"
    exec "$@"
  )
}

# undelegate GROUP: removes it, once its processes are gone.
undelegate() {
  local folder
  [ -n "$1" ] || return 0
  for folder in "$1/suites" "$1"; do
    for _ in $(seq 50); do
      rmdir "$folder" 2>/dev/null && break
      sleep 0.1
    done
  done
  [ ! -e "$1" ]
}
