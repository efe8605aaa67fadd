#!/usr/bin/env bash
# `make clean`: removes what the other targets built and fetched. Never the data of `make run`.
source "$(dirname "$0")/lib.sh"

shopt -s nullglob
for path in "$CACHE"/target-* "$CACHE"/venv "$CACHE"/venv-* "$CACHE"/node "$CACHE"/node-* "$CACHE"/tools "$CACHE"/deb "$CACHE"/machine "$CACHE"/systemd "$CACHE"/test-* /var/cache/freehold/test-assembled; do
  [ -e "$path" ] || [ -L "$path" ] || continue
  say "removing $path"
  rm -rf --one-file-system "$path"
done
say "the data of 'make run' stays in $DATA (remove it by hand after 'make stop')"
