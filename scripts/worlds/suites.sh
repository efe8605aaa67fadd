#!/usr/bin/env bash
# The sandbox and limit suites, from programs that were built before; compiles nothing. Run by
# scripts/rootless.sh as an ordinary user, and in the machine of scripts/v2.sh as root and as one.
#
#   suites.sh WORLD ENVIRONMENT COUNTS
#
# WORLD        what is said before each stage: "cgroup v2, root"
# ENVIRONMENT  assignments: where the programs lie (build_programs), and
#              SUITES_WORK       a folder that this user may write
#              SUITES_GROUPS     a delegated cgroup v2: each server gets a group of its own below it, as
#                                from a unit with Delegate=yes; empty for none
# COUNTS       gets a line "passed failed skipped" for each stage, and is complete whatever happens
set -uo pipefail

world=$1 counts=$3
set -a
# shellcheck source=/dev/null
source "$2"
set +a
cd "$(dirname "$0")/../.." || exit 2
python=$SUITES_VENV/bin/python

step() { printf '==> %s: %s\n' "$world" "$*"; }
count() { printf '%s %s %s\n' "$@" >>"$counts"; }
# counted PASSED FAILED SKIPPED STATUS: a stage that died has no line, which is a failure too.
counted() {
  local passed=$1 failed=$2 skipped=$3 status=$4
  [ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
  [ "$status" != 0 ] || [ "$((passed + skipped))" != 0 ] || failed=1
  count "$passed" "$failed" "$skipped"
  printf '    %s passed, %s failed, %s skipped in %s s\n' "$passed" "$failed" "$skipped" "$((SECONDS - begun))"
}

# runs STAGE: whether it is not left out; says and counts it if it is.
runs() {
  case " ${SUITES_LEFT_OUT:-} " in *" $1 "*) ;; *) return 0 ;; esac
  printf '    SKIPPED %s: %s\n' "$1" "$SUITES_LEFT_OUT_WHY"
  count 0 0 1
  return 1
}

mkdir -p "$SUITES_WORK/home" "$SUITES_WORK/tmp" "$SUITES_WORK/assembled"
chmod 1777 "$SUITES_WORK/tmp"
export HOME=$SUITES_WORK/home USER=${USER:-freehold-test} TMPDIR=$SUITES_WORK/tmp
export FREEHOLD_TEST_DATA=$SUITES_WORK/tmp FREEHOLD_TEST_ASSEMBLED=$SUITES_WORK/assembled
export FREEHOLD_CACHE=$SUITES_WORK/home/cache PYTHONDONTWRITEBYTECODE=1
export PATH=$SUITES_VENV/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# A server in a group that was delegated to it alone, as systemd makes one for a unit with Delegate=yes.
if [ -n "${SUITES_GROUPS:-}" ]; then
  export FREEHOLD_TEST_GROUPS=$SUITES_GROUPS FREEHOLD_TEST_BINARY=$FREEHOLD_BIN
  FREEHOLD_BIN=$SUITES_WORK/freehold-delegated
  export FREEHOLD_BIN
  cat >"$FREEHOLD_BIN" <<'SH'
#!/bin/sh
group=$FREEHOLD_TEST_GROUPS/run-$$
mkdir "$group" && echo $$ >"$group/cgroup.procs" && exec "$FREEHOLD_TEST_BINARY" "$@"
SH
  chmod 755 "$FREEHOLD_BIN"
fi

step "what doctor says"
"$FREEHOLD_BIN" doctor --data "$SUITES_WORK/none" || true

# Servers side by side have a folder of runtimes each.
step "runtimes of two servers"
mkdir -p "$FREEHOLD_TEST_ASSEMBLED/data-0"
begun=$SECONDS
"$FREEHOLD_BIN" runtimes install --data "$FREEHOLD_TEST_ASSEMBLED/data-0" >"$SUITES_WORK/runtimes.log" 2>&1 ||
  tail -n 5 "$SUITES_WORK/runtimes.log"
cp -a "$FREEHOLD_TEST_ASSEMBLED/data-0" "$FREEHOLD_TEST_ASSEMBLED/data-1"
printf '    in %s s\n' "$((SECONDS - begun))"

step "unit tests of the sandbox"
units() {
  local status
  begun=$SECONDS
  "$SUITES_UNITS" --test-threads 2 >"$SUITES_WORK/units.log" 2>&1
  status=$?
  grep -vE '^(running .*|test .* \.\.\. ok|)$' "$SUITES_WORK/units.log"
  # shellcheck disable=SC2046
  counted $(awk '/^test result: /{p += $4; f += $6; s += $8} END {print p + 0, f + 0, s + 0}' "$SUITES_WORK/units.log") "$status"
}
! runs units || units

step "scenarios of the platform"
platform() {
  local status
  begun=$SECONDS
  "$SUITES_PLATFORM" 2>&1 | tee "$SUITES_WORK/platform.log"
  status=${PIPESTATUS[0]}
  # shellcheck disable=SC2046
  counted $(awk '/^ok     /{p++} /^FAILED /{f++} /^ *skipped/{s++} END {print p + 0, f + 0, s + 0}' "$SUITES_WORK/platform.log") "$status"
}
! runs platform || platform

# pytests ARGUMENTS…
pytests() {
  local report=$SUITES_WORK/pytest.xml status
  begun=$SECONDS
  rm -f "$report"
  "$python" -m pytest -p no:cacheprovider --quiet -rsfE --durations 10 --durations-min 5 --tb short \
    --basetemp "$SUITES_WORK/tmp/pytest" --junitxml "$report" "$@"
  status=$?
  # shellcheck disable=SC2046
  counted $("$python" - "$report" <<'PY'
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
  ) "$status"
}

step "doctor's words against instances"
! runs doctor || pytests tests/doctor_test.py
step "limits"
! runs limits || pytests tests/limits_test.py
step "the escape list"
! runs escape || pytests tests/sandbox/escape_test.py
step "the life of the server"
! runs lifecycle || pytests tests/lifecycle_test.py
step "steps left out"
! runs mutation || pytests tests/sandbox/mutation_test.py

if [ -n "${SUITES_GROUPS:-}" ]; then
  step "groups are gone with their servers"
  left=
  for group in "$SUITES_GROUPS"/run-* "$SUITES_GROUPS"/scenario-*; do
    [ ! -e "$group" ] || rmdir "$group" || left="$left $group"
  done
  [ -z "$left" ] && count 1 0 0 || { echo "    left behind:$left"; count 0 1 0; }
fi
touch "$SUITES_WORK/ended"
