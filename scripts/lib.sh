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
if is_root; then
  DEFAULT_DATA=/var/lib/freehold
else
  DEFAULT_DATA=${XDG_DATA_HOME:-$HOME/.local/share}/freehold
fi
DATA=${FREEHOLD_DATA:-$DEFAULT_DATA}
LISTEN=${LISTEN:-127.0.0.1:7070}
ADMIN_LISTEN=${ADMIN_LISTEN:-127.0.0.1:7071}

# Where the example's Redis listens (scripts/redis.sh says why there).
redis_listen() { printf '%s' "${REDIS_LISTEN:-192.0.2.7:7379}"; }

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

# What is handed to others: the same, optimised across crates.
build_packaged() {
  use_target_folder
  FREEHOLD_BIN=$CARGO_TARGET_DIR/packaged/freehold
  (cd "$ROOT" && cargo build --quiet --locked --profile packaged --package freehold) ||
    die "the build failed; the compiler's words stand above"
}

# endpoint_field NAME PATTERN: a field of what the server of $DATA announces, if it matches wholly.
# That file is the unprivileged server's while we may be root: no link is followed out of its
# folder, no pipe waited for, and nothing passes that is not of the form expected.
endpoint_field() {
  local file=$DATA/run/endpoint.json
  [ -f "$file" ] && ! [ -L "$file" ] || return 0
  head -c 4096 "$file" 2>/dev/null | tr -d '\n' |
    sed -nE "s#.*\"$1\"[[:space:]]*:[[:space:]]*\"?($2)\"?[[:space:]]*[,}].*#\1#p"
}

# server_pid: the pid of the server that holds $DATA, if it lives. A number that stands in a file
# proves nothing, since it may be any process's: this one must run `freehold serve` on $DATA.
server_pid() {
  local pid
  pid=$(endpoint_field pid '[1-9][0-9]{0,9}')
  [ -n "$pid" ] && serves_data "$pid" && printf '%s' "$pid"
}

# serves_data PID: whether that process is `freehold serve` with $DATA as its data folder.
serves_data() {
  local words data=$DEFAULT_DATA at program program_name=${FREEHOLD_BIN:-freehold}
  mapfile -d '' -t words 2>/dev/null <"/proc/$1/cmdline" || return 1
  # What a process calls itself, and, where we may see it, what it was started from: a build that
  # was replaced is called "… (deleted)".
  program=$(readlink "/proc/$1/exe" 2>/dev/null) || program=${words[0]:-}
  program=${program% (deleted)}
  case ${program##*/} in freehold | "${program_name##*/}") ;; *) return 1 ;; esac
  [ "${words[1]:-}" = serve ] || return 1
  for ((at = 2; at < ${#words[@]}; at++)); do
    case ${words[at]} in
      --data) data=${words[at + 1]:-} ;;
      --data=*) data=${words[at]#--data=} ;;
    esac
  done
  [ "$data" = "$DATA" ] || { [[ $data = /* ]] && [ "$data" -ef "$DATA" ]; }
}

endpoint() { endpoint_field listen 'http://[][0-9a-fA-F.:%]+'; }

# How long a start may take: the first one copies every interpreter of the machine, and one after a
# crash reads what was written since.
START_SECONDS=${START_SECONDS:-600}
case $START_SECONDS in '' | *[!0-9]*) die "START_SECONDS is not a number of seconds: $START_SECONDS" ;; esac

# await_server PID: waits until the server that runs as PID serves $DATA; fails if it ends or is late.
await_server() {
  local tenth
  for ((tenth = 1; tenth <= START_SECONDS * 10; tenth++)); do
    [ -z "$(server_pid)" ] || return 0
    kill -0 "$1" 2>/dev/null || return 1
    ((tenth % 300)) || note "still starting after $((tenth / 10)) s (pid $1)"
    sleep 0.1
  done
  return 1
}

# end_server PID: asks it to end, waits, and insists.
end_server() {
  kill -TERM "$1" 2>/dev/null || return 0
  for _ in $(seq 100); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$1" 2>/dev/null || true
}
