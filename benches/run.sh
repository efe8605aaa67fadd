#!/usr/bin/env bash
# Measures the numbers of SPECIFICATION.md. Run by `make bench`, which builds the binary; arguments
# choose: benches/run.sh [--smoke] [warm|cold|compiled|calls|networks|spares|throughput|instructions|growth|burst|
# density|flood|front|neighbours|tenants|backups|wasm|idle|keep|hangups …]. With FREEHOLD_BENCH_PEERS=FOLDER, peers are installed
# there and measured beside us by throughput and wasm.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=${FREEHOLD_BIN:-$here/../target/release/freehold}
smoke=()
if [ "${1:-}" = --smoke ]; then smoke=(--smoke); shift; fi
[ $# -gt 0 ] || set -- warm cold compiled calls networks spares throughput instructions \
  growth burst density flood front neighbours tenants backups wasm idle keep hangups

# FREEHOLD_BENCH is one that was built already.
bench() { "$FREEHOLD_BENCH" "$@"; }
if [ -z "${FREEHOLD_BENCH:-}" ]; then
  cargo build --quiet --locked --release --manifest-path "$here/Cargo.toml"
  bench() { cargo run --quiet --locked --release --manifest-path "$here/Cargo.toml" -- "$@"; }
fi
printf '%s, %s cores, Linux %s, load %s\n' "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)" \
  "$(nproc)" "$(uname -r)" "$(cut -d' ' -f1-3 /proc/loadavg)"
ended=0
for what; do
  printf '\n== %s\n' "$what"
  bench --bin "$bin" "${smoke[@]}" "$what" || ended=1
  # The others have rows for both handlers in one run.
  case $what in spares | burst | density | flood | front | neighbours | backups | idle | compiled)
    if [ ${#smoke[@]} = 0 ] || [ "$what" = burst ]; then
      printf '\n== %s, the second handler\n' "$what"
      bench --bin "$bin" "${smoke[@]}" "$what" --work || ended=1
    fi ;;
  esac
  if [ "$what" = cold ] && [ ${#smoke[@]} = 0 ]; then
    printf '\n== cold, with networks and without\n'
    bench --bin "$bin" cold --networks --samples 200 --only python,node,rust || ended=1
  fi
  if [ "$what" = neighbours ]; then
    printf '\n== neighbours, of one account\n'
    bench --bin "$bin" "${smoke[@]}" neighbours --one-account || ended=1
    printf '\n== neighbours, of an account at its limits\n'
    bench --bin "$bin" "${smoke[@]}" neighbours --limits || ended=1
  fi
done
exit $ended
