#!/usr/bin/env bash
# `make stop`: asks the server of `make run` to drain and end, waits until it has, and then ends the
# example's Redis. `scripts/stop.sh server` leaves that one alone.
source "$(dirname "$0")/lib.sh"

stop_redis() {
  if [ "${1:-}" != server ] && is_root; then "$ROOT/scripts/redis.sh" stop; fi
}

pid=$(server_pid || true)
[ -n "$pid" ] || { stop_redis "$@"; say "no server runs on $DATA"; exit 0; }
kill -TERM "$pid" || die "may not signal pid $pid: run it as the user who started it (sudo make stop)"
for _ in $(seq 600); do
  [ -d "/proc/$pid" ] || { stop_redis "$@"; say "stopped (pid $pid); the data stays in $DATA"; exit 0; }
  sleep 0.1
done
die "pid $pid still drains after a minute: look at $DATA/server.log, or end it with kill -9 $pid (nothing acknowledged is lost)"
