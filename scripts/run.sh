#!/usr/bin/env bash
# `make run`: from a clone to a booked ticket. Safe to run again at any time: a server that runs is
# kept (or replaced, when the build changed), functions are updated, data stays.
source "$(dirname "$0")/lib.sh"

"$ROOT/scripts/setup.sh" run
step "building"
build_binary

# port_holder HOST:PORT: says who listens there, empty if nobody does.
port_holder() {
  local host=${1%:*} port=${1##*:}
  (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null || return 0
  local row
  row=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (pid \2)/p' | head -n 1)
  printf '%s' "${row:-another process}"
}

start_server() {
  local address holder
  for address in "$LISTEN" "$ADMIN_LISTEN"; do
    holder=$(port_holder "$address")
    [ -z "$holder" ] || die "$address is taken by $holder: stop it, or run 'make run LISTEN=127.0.0.1:7170 ADMIN_LISTEN=127.0.0.1:7171'"
  done
  mkdir -p "$DATA" 2>/dev/null || die "cannot make $DATA: choose another with FREEHOLD_DATA=/some/folder make run"
  step "fetching the AWS SDKs that functions find (boto3, AWS SDK v3)"
  "$FREEHOLD_BIN" runtimes install --data "$DATA" ||
    note "functions start without them; run 'make run' again with network"

  step "starting the platform"
  local log=$DATA/server.log pid
  rm -f "$DATA/run/endpoint.json"
  # A session of its own: closing this terminal must not end the platform.
  setsid nohup "$FREEHOLD_BIN" serve --data "$DATA" --listen "$LISTEN" --admin-listen "$ADMIN_LISTEN" \
    >>"$log" 2>&1 </dev/null &
  pid=$!
  await_server "$pid" && { note "log: $log"; return; }
  if kill -0 "$pid" 2>/dev/null; then
    # Left alone it would hold the ports, and the next run would call them taken.
    end_server "$pid"
    die "the server was not ready after $START_SECONDS s and was ended; its log is $log (START_SECONDS=1800 make run waits longer)"
  fi
  grep -v '^[[:space:]]*$' "$log" | tail -n 5 >&2 || true
  if is_root; then
    die "the server did not start; its last words stand above, the rest in $log; '$FREEHOLD_BIN doctor' says what is missing"
  fi
  die "the server did not start as $(id -un); its last words stand above: try 'sudo make run', or '$FREEHOLD_BIN doctor' for what is missing"
}

# has_policy: whether the platform's configuration says what functions of the example may reach.
has_policy() { grep -q '^\[network\.policies\.bookings\]' "$DATA/freehold.toml" 2>/dev/null; }

# write_policy: says it, once. What else the file has stays.
write_policy() {
  if has_policy; then
    grep -qF "\"$(redis_listen)\"" "$DATA/freehold.toml" ||
      die "[network.policies.bookings] in $DATA/freehold.toml does not allow \"$(redis_listen)\": add it to the list"
    return
  fi
  mkdir -p "$DATA"
  [ ! -s "$DATA/freehold.toml" ] || printf '\n' >>"$DATA/freehold.toml"
  cat >>"$DATA/freehold.toml" <<TOML
# The Redis of examples/event-booking (scripts/redis.sh), written by \`make run\`.
[network.policies.bookings]
allow = ["$(redis_listen)"]
TOML
  note "policy: [network.policies.bookings] in $DATA/freehold.toml"
}

# no_networks: why functions of this node reach nobody, empty where they do.
no_networks() {
  # Its exit says whether all lines are fine, which is not asked here.
  { "$FREEHOLD_BIN" doctor --data "$DATA" 2>/dev/null || true; } |
    sed -nE 's/^NO  networks of functions +(functions reach nobody, whatever their policy: )?//p'
}

# start_redis: without it the example works, and keeps nothing; that is said with the reason.
start_redis() {
  local reason
  step "a Redis for the bookings"
  if ! is_root; then
    reason="it needs an address of its own, which root alone can make: 'sudo make run' keeps bookings"
  else
    reason=$(no_networks)
    [ -z "$reason" ] || reason="functions have no network on this node ($reason): '$FREEHOLD_BIN doctor' says what they need"
  fi
  if [ -n "$reason" ] || ! reason=$("$ROOT/scripts/redis.sh" start 2>&1); then
    note "none: $reason"
    note "so bookings are answered and not kept, and seats are not counted"
    return
  fi
  note "redis-server at $(redis_listen), data in $DATA/example/redis"
  write_policy
}

start_redis
pid=$(server_pid || true)
if [ -n "$pid" ] && has_policy && [ "$DATA/freehold.toml" -nt "$DATA/run/endpoint.json" ]; then
  step "the configuration changed: replacing the server (pid $pid)"
  "$ROOT/scripts/stop.sh" server
  pid=
fi
if [ -n "$pid" ] && ! [ "/proc/$pid/exe" -ef "$FREEHOLD_BIN" ]; then
  step "the build changed: replacing the server (pid $pid)"
  "$ROOT/scripts/stop.sh" server
  pid=
fi
if [ -n "$pid" ]; then
  step "the platform runs already (pid $pid) at $(endpoint)"
else
  start_server
fi

exec "$ROOT/scripts/run-example.sh"
