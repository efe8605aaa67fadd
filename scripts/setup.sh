#!/usr/bin/env bash
# Checks what a target needs and installs what is missing: `scripts/setup.sh run|test|v2|bench`.
#
# As root on Debian or Ubuntu it installs packages with apt-get and says so first; otherwise it
# prints one line that does. What is there in a good version is left alone. Python and Node
# packages go to folders of their own in the cache, never to the system.
source "$(dirname "$0")/lib.sh"

target=${1:-run}
missing_packages=()
missing_words=()

# need WORD PACKAGE TEST…: PACKAGE is wanted if the command TEST fails.
need() {
  local word=$1 package=$2
  shift 2
  "$@" >/dev/null 2>&1 && return
  missing_words+=("$word")
  missing_packages+=("$package")
}

java_is_17() { at_least 17 "$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')"; }
node_is_18() { at_least 18 "$(node --version | tr -d v)"; }
go_is_119() { at_least 1.19 "$(go version | sed -n 's/.*go\([0-9.]*\) .*/\1/p')"; }
python_is_39() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))'; }
has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb' || have initdb; }
python_makes_venvs() { python3 -c 'import venv, ensurepip'; }

need 'a C compiler' build-essential cc --version
need 'Python 3.9 or later' python3 python_is_39
need 'python3 -m venv' python3-venv python_makes_venvs
need 'python3 -m pip' python3-pip python3 -m pip --version
need 'Node 18 or later' nodejs node_is_18
need npm npm npm --version
need 'a JDK, 17 or later' default-jdk-headless java_is_17
need Maven maven have mvn
need mkfs.ext4 e2fsprogs env PATH="$PATH:/usr/sbin:/sbin" bash -c 'command -v mkfs.ext4'
need mount util-linux have mount
need ip iproute2 env PATH="$PATH:/usr/sbin:/sbin" bash -c 'command -v ip'
need curl curl have curl
# Functions reach a Redis where they have networks, and those need root.
if is_root; then
  case $target in run | test)
    need 'a Redis' redis-server have redis-server
    need nft nftables env PATH="$PATH:/usr/sbin:/sbin" bash -c 'command -v nft'
    ;;
  esac
fi
case $target in
  test | v2 | faults | soak)
    need 'Go 1.19 or later' golang-go go_is_119
    need openssl openssl have openssl
    ;;&
  test)
    need Ruby ruby have ruby
    need PHP php-cli have php
    need logrotate logrotate env PATH="$PATH:/usr/sbin:/sbin" bash -c 'command -v logrotate'
    if is_root; then
      need 'a PostgreSQL' postgresql has_postgresql
      # The programs alone: the package mariadb-server makes a database of the machine's own.
      need 'a MariaDB' mariadb-server-core env PATH="$PATH:/usr/sbin" bash -c 'command -v mariadbd'
      need 'the client of MariaDB' mariadb-client-core have mariadb
    fi
    ;;
  v2) need qemu-system-x86_64 qemu-system-x86 have qemu-system-x86_64 ;;
  bench) need wrk wrk have wrk ;;
esac

# Databases and logrotate are wanted for their programs: those that come now neither start as services
# of the machine, by Debian's own switch for that, nor at its next start.
keep_services_down() {
  local policy=/usr/sbin/policy-rc.d
  ! [ -e "$policy" ] || return 0
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  # shellcheck disable=SC2064
  trap "rm -f $policy" EXIT
}
disable_services() {
  local package
  for package in "${missing_packages[@]}"; do
    case $package in redis-server | postgresql)
      ! have systemctl || systemctl disable --quiet "$package.service" >/dev/null 2>&1 || true
      ;;
    esac
  done
}

if [ ${#missing_packages[@]} -gt 0 ]; then
  words=$(printf '%s, ' "${missing_words[@]}")
  if is_root && have apt-get; then
    step "installing with apt-get: ${missing_packages[*]} (for ${words%, })"
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    keep_services_down
    if ! { apt-get update && apt-get install -y --no-install-recommends "${missing_packages[@]}"; } >"$log" 2>&1; then
      tail -n 5 "$log" >&2
      rm -f "$log"
      die "apt-get could not install them; mend its error and run again, or install by hand: ${missing_packages[*]}"
    fi
    rm -f "$log"
    disable_services
  elif have apt-get; then
    die "missing ${words%, }: sudo apt-get install -y --no-install-recommends ${missing_packages[*]}"
  else
    die "missing ${words%, }: install them with your package manager (Debian's names: ${missing_packages[*]})"
  fi
fi

use_target_folder
[ "$target" = run ] && exit 0

# Packages of the outside tests, by content: a changed list is a new folder, an old one is reused.
# pyenv's `python3` is a shim that may change its mind between calls: the real path goes in too.
# Printed for the caller: the folders are where the tests look.
python=$(python3 -c 'import sys; print(sys.executable)')
requirements=$ROOT/tests/requirements.txt
venv=$CACHE/venv-$(cat "$requirements" <(printf '%s' "$python"; "$python" --version) | sha256sum | cut -c1-12)
if ! [ -e "$venv/.complete" ]; then
  step "Python packages of the tests → $venv"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" ||
    die "pip could not fetch the tests' packages: check the network, then run again"
  touch "$venv/.complete"
fi

node_tests=$ROOT/tests/sdk_js
node_folder=$CACHE/node-$(cat "$node_tests/package.json" "$node_tests/package-lock.json" <(node --version) | sha256sum | cut -c1-12)
if ! [ -e "$node_folder/.complete" ]; then
  step "Node packages of the tests → $node_folder"
  rm -rf "$node_folder"
  mkdir -p "$node_folder"
  cp "$node_tests/package.json" "$node_tests/package-lock.json" "$node_folder/"
  (cd "$node_folder" && npm ci --silent --no-audit --no-fund --ignore-scripts) ||
    die "npm could not fetch the tests' packages: check the network, then run again"
  touch "$node_folder/.complete"
fi

# An authority to order certificates from (tests/support/authority.py names the same version). A Go
# that is too old for it leaves it out: those tests then say what they missed.
PEBBLE_VERSION=v2.10.1
pebble=$CACHE/tools/pebble-$PEBBLE_VERSION
if [ "$target" = test ] && ! [ -x "$pebble/pebble" ]; then
  step "Pebble $PEBBLE_VERSION → $pebble"
  GOBIN=$pebble go install "github.com/letsencrypt/pebble/v2/cmd/pebble@$PEBBLE_VERSION" ||
    note "it could not be built: no certificate will be ordered in the tests"
fi

# What Rust functions are compiled to WebAssembly for. Without it, or without rustup, their tests say what they
# missed.
WASM_TARGET=wasm32-wasip2
if [ "$target" = test ] && have rustup &&
  ! [ -d "$(cd "$ROOT" && rustc --print target-libdir --target "$WASM_TARGET" 2>/dev/null)" ]; then
  step "Rust's target $WASM_TARGET, by rustup"
  (cd "$ROOT" && timeout 120 rustup target add "$WASM_TARGET" >/dev/null 2>&1) ||
    note "it could not be fetched: no Rust function will be built for WebAssembly in the tests"
fi

ln -sfn "$venv" "$CACHE/venv"
ln -sfn "$node_folder" "$CACHE/node"
