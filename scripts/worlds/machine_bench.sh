#!/usr/bin/env bash
# The first process of the machine of `make bench-v2`, in its root folder: runs the benches, and switches off.
#   machine_bench.sh WORK
source "$(dirname "$0")/machine_ready.sh"

# A bench raises its own up to this.
ulimit -n 1048576
export FREEHOLD_BIN FREEHOLD_BENCH TMPDIR=/var/tmp
# shellcheck disable=SC2086
benches/run.sh $MACHINE_BENCHES && touch "$work/ended"
