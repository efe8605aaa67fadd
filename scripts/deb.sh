#!/usr/bin/env bash
# `make deb`: builds the binary and packs it for Debian and Ubuntu. FREEHOLD_DEB is the folder that
# the package goes to.
source "$(dirname "$0")/lib.sh"

"$ROOT/scripts/setup.sh" run
step "building"
build_packaged
step "packing"
"$ROOT/packaging/deb/build.sh" "$FREEHOLD_BIN" "${FREEHOLD_DEB:-$CACHE/deb}"
