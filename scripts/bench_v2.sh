#!/usr/bin/env bash
# `make bench-v2`: benches for which a machine has to give what this one may not, in a small virtual machine
# (scripts/worlds/machine.sh): without V2_BENCHES `front`, which wants 270,000 descriptors. Ratios of one run say
# something there; times do not.
source "$(dirname "$0")/lib.sh"
source "$ROOT/scripts/worlds/machine.sh"

V2_BENCHES=${V2_BENCHES:-front}
V2_SECONDS=${V2_SECONDS:-7200}
V2_MEMORY_MIB=${V2_MEMORY_MIB:-12288}
begin_machine

step "a machine with descriptors for all"
make_machine
find_accelerator
note "Linux $MACHINE_VERSION, ${MACHINE_ACCELERATOR%% -cpu*}; it has $V2_SECONDS s (V2_SECONDS) and $V2_MEMORY_MIB MiB (V2_MEMORY_MIB)"
(cd "$ROOT" && cargo build --quiet --locked --release --workspace --bins) || die "the build failed; the compiler's words stand above"
{
  printf 'FREEHOLD_BIN=%q\nFREEHOLD_BENCH=%q\n' "$CARGO_TARGET_DIR/release/freehold" "$CARGO_TARGET_DIR/release/freehold-bench"
  printf 'SUITES_VENV=%q\nMACHINE_BENCHES=%q\n' "$(readlink -f "$CACHE/venv")" "$V2_BENCHES"
} >"$work/environment"
boot_machine "$V2_SECONDS" "$V2_MEMORY_MIB" "$ROOT/scripts/worlds/machine_bench.sh" || true
[ -e "$work/ended" ] || {
  say "FAILED: the kernel's last words:"
  tail -n 20 "$work/console"
  exit 1
}
