#!/usr/bin/env bash
# The service in the machine of `make test-systemd`, whose first process is systemd.  systemd_suite.sh PART
#
# /run/shared has the package and the binary; `counts` there gets a line "passed failed skipped" for each part.
set -uo pipefail
part=$1 shared=/run/shared
config=/etc/freehold/freehold.toml data=/var/lib/freehold
passed=0 failed=0

say() { printf '%s\n' "$*"; }
# holds WHAT COMMAND…: whether the command succeeds, in a shell of its own.
holds() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then
    passed=$((passed + 1))
    say "    ok      $what"
  else
    failed=$((failed + 1))
    say "    FAILED  $what"
    sed 's/^/              /' <<<"${said:-$*}"
  fi
}
fails() { ! "$@"; }

property() { systemctl show --value --property "$1" freehold; }
main_pid() { property MainPID; }
is() { [ "$(property "$1")" = "$2" ] || { say "$1 is $(property "$1")"; return 1; }; }
# The server is in mounts of the unit's own: what it can do there, and cannot.
in_its_mounts() { nsenter --target "$(main_pid)" --mount -- "$@"; }
calls() { freehold invoke one --wait 30 --payload "$1"; }
answers() { calls '{}' | grep '"held"'; }

deploys() {
  mkdir -p /root/one
  cat >/root/one/handler.py <<'PY'
import os, time
def handler(event, context):
    time.sleep(event.get("sleep_s", 0))
    held = bytearray(event.get("mib", 0) << 20)
    room = os.statvfs("/tmp")
    return {"uid": os.getuid(), "tmp_mib": room.f_blocks * room.f_frsize >> 20, "held": len(held)}
PY
  freehold deploy /root/one --name one --handler handler.handler --timeout 20 --memory 128 --no-url
}

# comes WORD: within a minute the service is that.
comes() {
  for _ in $(seq 600); do
    [ "$(systemctl is-active freehold)" != "$1" ] || return 0
    sleep 0.1
  done
  systemctl status --no-pager freehold
  return 1
}

no_process() { fails pgrep -fa '/freehold serve|fh-super'; }
rules() { nft list ruleset | grep freehold; }
links() { ip -o link | grep -v ': lo:'; }
groups() { find /sys/fs/cgroup -type d -name 'freehold-*' | grep .; }
# What a server has of the machine, all of it or nothing.
all_there() { rules && links && groups; }
nothing_left() {
  no_process && fails rules && fails links && fails groups &&
    fails grep -E ' (/var/lib/freehold|/run/freehold)' /proc/self/mountinfo
}

serves() {
  holds "systemctl start returns when it serves" is StatusText "Serves on http://127.0.0.1:7070"
  holds "a function is deployed" deploys
  holds "and called, below a user id of its own" \
    bash -c 'freehold invoke one --wait 30 | grep -E "\"uid\": [0-9]{9,}"'
  holds "its links, rules and groups are there" all_there
  holds "/tmp is a volume of its own size" bash -c 'freehold invoke one --wait 30 | grep -E "\"tmp_mib\": 5[0-9][0-9],"'
}

sealed() {
  local file
  holds "the server has no capability and cannot get one" \
    bash -c "grep -q '^CapEff:.0*$' /proc/$(main_pid)/status && grep -q '^NoNewPrivs:.1' /proc/$(main_pid)/status"
  for file in /etc/x /usr/x /var/x /run/x /run/lock/x /run/systemd/x; do
    holds "$file cannot be written by it" fails in_its_mounts touch "$file"
  done
  holds "its data can, and /run/freehold-network" in_its_mounts touch "$data/x" /run/freehold-network/x
  rm -f "$data/x" /run/freehold-network/x
  mkdir -p /home/ada && touch /root/secret /tmp/secret /var/tmp/secret
  for file in /home/ada /root/secret /tmp/secret /var/tmp/secret; do
    holds "$file is not there for it" fails in_its_mounts test -e "$file"
  done
  holds "what all may read is" in_its_mounts test -e /etc/passwd
  holds "systemd-analyze security finds 5.5 or less" bash -c '
    score=$(systemd-analyze security --no-pager freehold | sed -nE "s/.*Overall exposure level .*: ([0-9.]+) .*/\1/p")
    echo "it is $score"; awk -v score="$score" "BEGIN {exit !(score > 0 && score <= 5.5)}"'
}

# Where systemd has memory groups to give: as `freehold doctor` sees them.
limits() {
  # It fails for anything that is not as it could be.
  if grep -q '^ok  memory limit' <<<"$(freehold doctor 2>&1)"; then
    holds "a function's memory has its limit" bash -c \
      "! freehold invoke one --wait 30 --payload '{\"mib\": 400}' 2>/dev/null | grep -v OutOfMemory"
    holds "and a function that is killed for it ends nothing else" answers
    holds "no restart came of it" is NRestarts 0
  else
    say "    SKIPPED a function's memory: this machine hands no memory groups down"
    say "0 0 1" >>"$shared/counts"
  fi
}

writes() { printf '%s\n' "$@" >"$config"; }
reloads() {
  local pid
  pid=$(main_pid)
  cp "$config" /root/config
  writes '[limits]' 'log_rate = "1MiB"'
  holds "systemctl reload takes a new configuration" systemctl reload freehold
  holds "it is in force" bash -c 'freehold config show | grep -E "log_rate +1MiB"'
  writes '[limits]' 'log_rat = "1MiB"'
  holds "a reload of one with a fault fails" fails systemctl reload freehold
  holds "and changes nothing" answers
  cp /root/config "$config"
  holds "the server is the same" is MainPID "$pid"
}

restarts() {
  local pid
  calls '{"sleep_s": 3}' >/root/answer 2>&1 &
  sleep 1
  holds "systemctl restart under a caller" systemctl restart freehold
  wait $!
  holds "the caller has its answer" grep -q '"held"' /root/answer
  holds "the next one too" answers

  pid=$(main_pid)
  kill -KILL "$pid"
  holds "after kill -9 of the server it is started again" comes active
  holds "as another process" fails is MainPID "$pid"
  holds "once" is NRestarts 1
  holds "and it answers" answers
  # The processes that ended with it left nothing that the new one has to be asked about.
  holds "one supervisor runs" bash -c '[ "$(pgrep -cx fh-supervisor)" = 1 ]'

  pid=$(main_pid)
  pkill -KILL -x fh-supervisor
  sleep 1
  holds "after kill -9 of the supervisor too" comes active
  holds "as another process" fails is MainPID "$pid"
  holds "and it answers" answers
}

refuses_a_fault() {
  cp "$config" /root/config
  writes 'x = 1'
  holds "with a configuration that does not read a start fails" fails systemctl restart freehold
  sleep 6
  holds "and is not tried again" is ActiveState failed
  holds "the log says what and where" bash -c "journalctl --no-pager --unit freehold --lines 20 | grep 'freehold.toml:1'"
  cp /root/config "$config"
  holds "with a good one it starts" systemctl start freehold
  holds "and it answers" answers
}

stops() {
  holds "systemctl stop" systemctl stop freehold
  holds "it ended well" is Result success
  holds "nothing is left" nothing_left
}

package() {
  holds "dpkg installs it: it needs nothing but what it names" dpkg --install "$shared/freehold.deb"
  holds "it is enabled" bash -c '[ "$(systemctl is-enabled freehold)" = enabled ]'
  holds "it runs" comes active
  serves
  sealed
  limits
  reloads
  restarts
  refuses_a_fault
  stops
  holds "systemctl start" systemctl start freehold
  local pid
  pid=$(main_pid)
  holds "an upgrade restarts it" dpkg --install "$shared/freehold.deb"
  holds "as another process" fails is MainPID "$pid"
  holds "with the function that it had" answers
}

package_again() {
  holds "it started with the machine" comes active
  holds "with the function that it had" answers
  holds "dpkg removes it" dpkg --remove freehold
  holds "nothing runs" nothing_left
  holds "the data stays" test -s "$data/store/meta.db"
  holds "and is found again" dpkg --install "$shared/freehold.deb"
  holds "with the function that it had" answers
  holds "dpkg purges it" dpkg --purge freehold
  purged
}

# purged: no file, no account, no unit, nothing that runs.
purged() {
  holds "nothing runs" nothing_left
  holds "systemd knows no such unit" bash -c '[ "$(systemctl show --value --property LoadState freehold)" = not-found ]'
  holds "no file is left" bash -c \
    '! find /etc /usr /var /opt /srv -xdev -iname "*freehold*" -not -path "/var/log/*" | grep .'
  holds "no account is left" fails grep freehold /etc/passwd /etc/group /etc/shadow
}

install() {
  cd /root || return
  holds "freehold install --start" "$shared/freehold" install --start
  holds "it is enabled" bash -c '[ "$(systemctl is-enabled freehold)" = enabled ]'
  serves
  sealed
  local pid
  pid=$(main_pid)
  holds "once more changes nothing" "$shared/freehold" install --start
  holds "and leaves the server as it is" is MainPID "$pid"
  holds "systemctl reload" systemctl reload freehold
  holds "uninstall" /usr/local/bin/freehold uninstall
  holds "nothing runs" nothing_left
  holds "install again finds the data" "$shared/freehold" install --start
  holds "with the function that it had" answers
  holds "uninstall --purge" /usr/local/bin/freehold uninstall --purge
  purged
}

"$part"
say "$passed $failed 0" >>"$shared/counts"
