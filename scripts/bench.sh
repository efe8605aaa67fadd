#!/usr/bin/env bash
# `make bench`: measures the numbers of SPECIFICATION.md with the release binary.
source "$(dirname "$0")/lib.sh"

"$ROOT/scripts/setup.sh" bench
build_binary
[ -x "$ROOT/benches/run.sh" ] || die "benches/run.sh is not there: this clone has no benches yet"
exec "$ROOT/benches/run.sh" "$@"
