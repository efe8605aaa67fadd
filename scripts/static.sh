#!/usr/bin/env bash
# `make static`: a binary that needs no shared library, for machines with another libc or an older
# one. docs/book/installing.md says what it gives up.
source "$(dirname "$0")/lib.sh"

"$ROOT/scripts/setup.sh" run
use_target_folder
host=$(rustc -vV | sed -n 's/^host: //p')
[[ $host = *-linux-gnu ]] || die "a static binary is built on Linux with glibc; this is $host"
step "building"
build_packaged
# The libraries are those of `make deb`; only the last step is another. rustc decides there, and not
# in each crate, whether libc is linked in.
step "linking without shared libraries"
(cd "$ROOT" && cargo rustc --quiet --locked --profile packaged --package freehold --bin freehold -- \
  -C target-feature=+crt-static) || die "the build failed; the compiler's words stand above"
binary=$CARGO_TARGET_DIR/static/freehold
mkdir -p "${binary%/*}"
strip --strip-debug -o "$binary" "$FREEHOLD_BIN" || die "no binary to strip"
# Where the other one was, it is again: only its name has to be put back.
build_packaged
# Asked of the file and not of ldd, which runs what it is asked about.
headers=$(readelf --program-headers "$binary") || die "readelf does not read $binary"
case $headers in *INTERP*) die "$binary asks for an interpreter: it is not static" ;; esac
say "$binary"
