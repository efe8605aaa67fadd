#!/usr/bin/env bash
# `make static`: a binary that needs no shared library, for machines with another libc or an older
# one. docs/book/installing.md says what it gives up.
source "$(dirname "$0")/lib.sh"

"$ROOT/scripts/setup.sh" run
use_target_folder
host=$(rustc -vV | sed -n 's/^host: //p')
[[ $host = *-linux-gnu ]] || die "a static binary is built on Linux with glibc; this is $host"
step "building without shared libraries; the first time this compiles everything anew"
# Named as a target, so that macros and build scripts, which are loaded or run here, stay as they are.
(cd "$ROOT" && RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
  CARGO_TARGET_DIR=$CARGO_TARGET_DIR/static \
  cargo build --quiet --locked --release --package freehold --target "$host") ||
  die "the build failed; the compiler's words stand above"
binary=$CARGO_TARGET_DIR/static/$host/release/freehold
# Asked of the file and not of ldd, which runs what it is asked about.
if readelf --program-headers "$binary" | grep -q INTERP; then
  die "$binary asks for an interpreter: it is not static"
fi
say "$binary"
