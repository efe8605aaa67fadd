#!/usr/bin/env bash
# The Redis that examples/event-booking keeps its bookings in: `scripts/redis.sh start|stop|url`.
#
#   start   starts it, if it does not run; needs root
#   stop    ends it; its data stays
#   url     prints what a function connects to, a secret; nothing where it does not run
#
# It is none of the machine's own: a port, an address, a user id, a folder and passwords of its own.
#
#   address   192.0.2.7 on the loopback device. Loopback's own addresses are each instance's own, so a
#             function cannot name them; this one is of a range that stands for nothing anywhere
#             (RFC 5737), so it hides nobody. A table of nf_tables drops what comes for it from other
#             machines. Functions reach it only where a policy names it.
#   users     `bookings` may do what the function does, on keys of bookings; `operator` may look and
#             mend. Both passwords lie in DATA/example, readable by root alone.
#   folder    DATA/example/redis. Every booking is on disk before it is answered.
source "$(dirname "$0")/lib.sh"

listen=$(redis_listen)
address=${listen%:*} port=${listen##*:}
state=$DATA/example
folder=$state/redis
log=$folder/redis.log
# A number without an account, beside the server's.
REDIS_UID=2146000001
# Bookings are small and expire; what would be beyond is refused, and nothing is thrown out for it.
REDIS_MEMORY=256mb
table=bookings_${address//./_}_$port

PATH=$PATH:/usr/sbin:/sbin

# redis_pid: the pid of the Redis of this folder, if it lives.
redis_pid() {
  local pid
  pid=$(head -c 16 "$state/redis.pid" 2>/dev/null) || return 0
  case $pid in '' | *[!0-9]*) return 0 ;; esac
  # A number that stands in a file may be any process's: this one stands in our folder.
  if [ "/proc/$pid/cwd" -ef "$folder" ]; then printf '%s' "$pid"; fi
}

# secret NAME: the password in that file, made at the first use.
secret() {
  local file=$state/$1
  [ -s "$file" ] || (umask 077 && head -c 32 /dev/urandom | sha256sum | cut -c1-64 >"$file")
  cat "$file"
}

url() { printf 'redis://bookings:%s@%s' "$(cat "$state/redis.password")" "$listen"; }

# answers: whether it takes the function's password and is through with reading its data.
answers() {
  local reply
  exec 3<>"/dev/tcp/$address/$port" || return 1
  printf 'AUTH bookings %s\r\nPING\r\n' "$(cat "$state/redis.password")" >&3
  IFS= read -r -t 2 reply <&3 && IFS= read -r -t 2 reply <&3
  exec 3<&-
  [ "${reply%$'\r'}" = +PONG ]
}

own_address() {
  local there
  there=$(ip -oneline -4 address show to "$address" | awk '{print $2}')
  case $there in
    '') ip address add "$address/32" dev lo scope host ;;
    lo) ;;
    *) die "$address is an address of $there: choose another with REDIS_LISTEN=192.0.2.8:7379" ;;
  esac
}

# Linux takes packets for any of its addresses by any device. This one is for us and for functions,
# whose devices begin with "fh" and whose policies are asked first.
shut_out_others() {
  nft -f - <<NFT
table inet $table
delete table inet $table
table inet $table {
  chain input {
    type filter hook input priority -10; policy accept;
    ip daddr $address iifname != "lo" iifname != "fh*" drop
  }
}
NFT
}

start() {
  is_root || die "Redis is for functions with networks, which need root: sudo $0 start"
  local program pid tenth output
  [ -z "$(redis_pid)" ] || return 0
  program=$(command -v redis-server) || die "no redis-server: apt-get install -y redis-server"
  have nft || die "no nft: apt-get install -y nftables"
  mkdir -p "$folder"
  own_address || die "this machine lets nobody add an address: run it where root may (CAP_NET_ADMIN)"
  shut_out_others || die "nft cannot keep other machines from $address: a kernel with nf_tables is needed"
  cat >"$folder/redis.conf" <<CONF
bind $address
port $port
# Every user has a password; who comes without one may do nothing.
protected-mode no
aclfile $folder/users.acl
dir $folder
logfile $log
daemonize no
appendonly yes
appendfsync always
save ""
maxmemory $REDIS_MEMORY
maxmemory-policy noeviction
maxclients 512
tcp-keepalive 60
CONF
  secret redis.password >/dev/null
  secret redis.operator >/dev/null
  # Nobody comes in as `default`. It has its rights since Redis reads its file back in its name: what a
  # script wrote stands there as a transaction, and would be passed over without a word (redis#14541).
  cat >"$folder/users.acl" <<ACL
user default off resetpass ~* &* +@all
user operator on #$(hash_of redis.operator) ~* &* +@all
user bookings on #$(hash_of redis.password) ~seats:* ~booking:* +ping +hello +client|setname +eval +evalsha +get +set +hget +hincrby +expireat
ACL
  touch "$log"
  chown -R "$REDIS_UID:$REDIS_UID" "$folder"
  chmod 700 "$folder"
  # In its folder, and with nothing of ours but that.
  (cd "$folder" && exec setsid setpriv --reuid "$REDIS_UID" --regid "$REDIS_UID" --clear-groups --no-new-privs \
    env -i PATH="$PATH" LC_ALL=C "$program" "$folder/redis.conf" </dev/null >>"$log" 2>&1) &
  pid=$!
  printf '%s\n' "$pid" >"$state/redis.pid"
  for ((tenth = 0; tenth < 300; tenth++)); do
    ! answers 2>/dev/null || return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  output=$(tail -n 3 "$log")
  end_server "$pid"
  die "Redis did not start; its last words are: $output (the rest: $log)"
}

hash_of() { printf '%s' "$(secret "$1")" | sha256sum | cut -c1-64; }

stop() {
  local pid
  pid=$(redis_pid)
  [ -z "$pid" ] || end_server "$pid"
  rm -f "$state/redis.pid"
  is_root || return 0
  ip address del "$address/32" dev lo 2>/dev/null || true
  nft delete table inet "$table" 2>/dev/null || true
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  url) [ -z "$(redis_pid)" ] || url ;;
  *) die "say start, stop or url" ;;
esac
