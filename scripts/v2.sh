#!/usr/bin/env bash
# `make test-v2`: the sandbox and limit suites under cgroup v2 alone, in a small virtual machine with Debian's
# kernel (scripts/worlds/machine.sh): by KVM where that works, else emulated.
#
# By KVM they run as root and as an ordinary user with a delegated group; emulated, which is ten to twenty times as slow,
# as root, without what takes longest. V2_WORLDS='root user' and V2_LEFT_OUT='' say otherwise.
source "$(dirname "$0")/lib.sh"
source "$ROOT/scripts/worlds/programs.sh"
source "$ROOT/scripts/worlds/machine.sh"

# For the machine, from its start to its end; without a number, what it takes by KVM or emulated.
V2_SECONDS=${V2_SECONDS:-}
V2_MEMORY_MIB=${V2_MEMORY_MIB:-6144}
begin_machine
mkdir "$work/logs"

step "a machine with cgroup v2"
make_machine
find_accelerator
case $MACHINE_ACCELERATOR in
  *kvm*) how='by KVM' seconds=5400 worlds=${V2_WORLDS:-root user} left_out=${V2_LEFT_OUT-} ;;
  *) how='emulated' seconds=14400 worlds=${V2_WORLDS:-root} left_out=${V2_LEFT_OUT-mutation} ;;
esac
V2_SECONDS=${V2_SECONDS:-$seconds}
note "Linux $MACHINE_VERSION, $how; it has $V2_SECONDS s (V2_SECONDS) and $V2_MEMORY_MIB MiB (V2_MEMORY_MIB)"
build_programs "$work/environment"
needed_folders >"$work/folders"
{
  printf 'MACHINE_WORLDS=%q\n' "$worlds"
  [ "$how" = 'by KVM' ] || printf '%s\n' SIBLINGS=200 FREEHOLD_TEST_EMULATED=yes
  printf 'SUITES_LEFT_OUT=%q\n' "$left_out"
  printf 'SUITES_LEFT_OUT_WHY=%q\n' "the machine is $how; V2_LEFT_OUT='' runs it"
} >>"$work/environment"
# shellcheck disable=SC2086
machine_sdks $worlds

begun=$SECONDS
boot_machine "$V2_SECONDS" "$V2_MEMORY_MIB" "$ROOT/scripts/worlds/machine_suites.sh" || true
note "the machine ran for $((SECONDS - begun)) s"
if [ -n "${V2_KEEP:-}" ]; then
  mkdir -p "$V2_KEEP"
  cp -r "$work/logs" "$work/console" "$V2_KEEP"
fi
# It makes that last: suites that died half-way are not fewer tests that passed.
if ! [ -e "$work/ended" ]; then
  if ((SECONDS - begun >= V2_SECONDS)); then
    say "FAILED: the suites were not done within $V2_SECONDS s; V2_SECONDS=$((V2_SECONDS * 2)) gives them more"
  else
    say "FAILED: the machine ended before its suites; its kernel's last words:"
    tail -n 20 "$work/console"
  fi
  say "0 1 0" >>"$work/counts"
fi
finish_counts "$work/counts"
