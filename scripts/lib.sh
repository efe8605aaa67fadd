# shellcheck shell=bash
# What every script here shares: where things lie, how they speak. Sourced, never run.
#
# Nothing is written into the clone. Two folders hold everything, both by the platform's habits:
#   FREEHOLD_CACHE  builds, tools, Python and Node packages; `make clean` empties it
#   FREEHOLD_DATA   the data of `make run`: functions, events, logs, the ledger, the root key
# A server that was started by root drops to a user of its own, which must be able to reach its
# data: so root's data is /var/lib/freehold and not a folder below the closed /root.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

is_root() { [ "$(id -u)" = 0 ]; }

# Under sudo HOME may still be the caller's: root's files do not belong there.
if [ -n "${FREEHOLD_CACHE:-}" ]; then
  CACHE=$FREEHOLD_CACHE
elif is_root && { [ -z "${HOME:-}" ] || ! [ -O "$HOME" ]; }; then
  CACHE=/var/cache/freehold
else
  CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/freehold
fi
if [ -n "${FREEHOLD_DATA:-}" ]; then
  DATA=$FREEHOLD_DATA
elif is_root; then
  DATA=/var/lib/freehold
else
  DATA=${XDG_DATA_HOME:-$HOME/.local/share}/freehold
fi
LISTEN=${LISTEN:-127.0.0.1:7070}
ADMIN_LISTEN=${ADMIN_LISTEN:-127.0.0.1:7071}

MIN_RUST=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi

say() { printf '%s\n' "$*"; }
step() { printf '%s\n' "${bold}==> $*${plain}"; }
note() { printf '%s\n' "${dim}    $*${plain}"; }
# One line with the remedy in it, then the end.
die() { printf 'freehold: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# at_least 1.88 1.95.0: whether the second version is the first or later.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Finds cargo where rustup puts it, when a login shell was not the caller.
find_cargo() {
  local home
  have cargo && return
  for home in "${HOME:-}" "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)"; do
    if [ -x "$home/.cargo/bin/cargo" ]; then
      PATH=$home/.cargo/bin:$PATH
      # rustup's proxies look for toolchains below HOME, which sudo changes.
      export PATH RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup} CARGO_HOME=${CARGO_HOME:-$home/.cargo}
      return
    fi
  done
}

# Sets CARGO_TARGET_DIR: one target folder per compiler, since they share nothing.
use_target_folder() {
  find_cargo
  have rustc || die "no Rust toolchain: install one with rustup (https://rustup.rs), $MIN_RUST or later"
  local version
  version=$(cd "$ROOT" && rustc --version | cut -d' ' -f2)
  at_least "$MIN_RUST" "$version" || die "rustc $version is too old: run 'rustup update stable' ($MIN_RUST or later)"
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target-$version}
  mkdir -p "$CARGO_TARGET_DIR"
  FREEHOLD_BIN=$CARGO_TARGET_DIR/release/freehold
  export FREEHOLD_BIN
}

build_binary() {
  use_target_folder
  (cd "$ROOT" && cargo build --quiet --locked --release --package freehold) ||
    die "the build failed; the compiler's words stand above"
}

# server_pid: the pid of the server that holds $DATA, if it lives.
server_pid() {
  local pid
  pid=$(sed -n 's/.*"pid"[: ]*\([0-9][0-9]*\).*/\1/p' "$DATA/run/endpoint.json" 2>/dev/null) || true
  # A number alone proves nothing after a crash: another process may have it now.
  [ -n "$pid" ] && grep -qs "^freehold" "/proc/$pid/comm" && printf "%s" "$pid"
}

endpoint() { sed -n 's/.*"listen"[: ]*"\([^"]*\)".*/\1/p' "$DATA/run/endpoint.json"; }

# hash_of FILES…: a short name for their contents.
hash_of() { cat "$@" | sha256sum | cut -c1-12; }
