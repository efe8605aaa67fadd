#!/usr/bin/env bash
# Checks what a target needs and installs what is missing: `scripts/setup.sh run|test|bench`.
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
go_is_118() { at_least 1.18 "$(go version | sed -n 's/.*go\([0-9.]*\) .*/\1/p')"; }
python_is_39() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))'; }
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
case $target in
  test | faults | soak)
    need 'Go 1.18 or later' golang-go go_is_118
    need openssl openssl have openssl
    ;;&
  test)
    need Ruby ruby have ruby
    need PHP php-cli have php
    ;;
  bench) need wrk wrk have wrk ;;
esac

if [ ${#missing_packages[@]} -gt 0 ]; then
  words=$(printf '%s, ' "${missing_words[@]}")
  if is_root && have apt-get; then
    step "installing with apt-get: ${missing_packages[*]} (for ${words%, })"
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install -y --no-install-recommends "${missing_packages[@]}"; } >"$log" 2>&1; then
      tail -n 5 "$log" >&2
      rm -f "$log"
      die "apt-get could not install them; mend its error and run again, or install by hand: ${missing_packages[*]}"
    fi
    rm -f "$log"
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

ln -sfn "$venv" "$CACHE/venv"
ln -sfn "$node_folder" "$CACHE/node"
