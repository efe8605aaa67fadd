#!/usr/bin/env bash
# Deploys examples/event-booking to the running server, books a ticket and prints what to try.
#
#   scripts/run-example.sh [DATA_DIR [BINARY]]     as `make run` calls it: neither
#
# Where the example's Redis runs (scripts/redis.sh, which `make run` starts) bookings are kept in it, and
# the server's configuration has the policy `bookings` that leads there. Without one they are answered
# and not kept.
#
# Needs no AWS tool: the binary is a client like any other, and curl books. What has not changed
# since the last run is neither built nor deployed again. DATA_DIR/example keeps what that needs:
# a stamp per function, and the key that signs tickets.
source "$(dirname "$0")/lib.sh"

DATA=${1:-$DATA}
if [ -n "${2:-}" ]; then
  FREEHOLD_BIN=$(realpath "$2")
  find_cargo
else
  use_target_folder
fi
example=$ROOT/examples/event-booking
[ -d "$example" ] || die "examples/event-booking is not in this clone"
[ -x "$FREEHOLD_BIN" ] || die "no binary at $FREEHOLD_BIN: 'make run' builds it"
[ -n "$(server_pid)" ] || die "no server runs on $DATA: start it with 'make run'"
variables=$("$FREEHOLD_BIN" env --data "$DATA") || die "cannot read the keys of $DATA; its line stands above"
eval "$variables"

state=$DATA/example
mkdir -p "$state"
# Cargo's output for `poster` lies with the other builds, where `make clean` finds it.
export XDG_CACHE_HOME=$CACHE/tools/example

# The same key for who signs and who checks; kept, so that tickets outlive this run.
[ -s "$state/ticket.key" ] || (umask 077 && head -c 32 /dev/urandom | base64 >"$state/ticket.key")
key=$(cat "$state/ticket.key")

# described NAME FIELD: a text from what the server says about a function, empty without one.
described() {
  "$FREEHOLD_BIN" describe "$1" --json 2>/dev/null |
    sed -n "s/.*\"$2\": *\"\([^\"]*\)\".*/\1/p" | head -n 1
}

# path_form URL: a function's URL in the form that every tool resolves.
path_form() {
  local id=${1#*://}
  printf '%s/_freehold/url/%s/' "$AWS_ENDPOINT_URL" "${id%%.*}"
}

declare -A url host_url

# deploy NAME ENVIRONMENT ARGUMENTS…: brings a function up to date, if it is not. ENVIRONMENT is
# KEY=VALUE or empty, and never on a command line, where every user of the machine could read it.
deploy() {
  local name=$1 environment=$2 begun=$SECONDS output stamp word
  shift 2
  stamp=$(cd "$example/$name" && {
    find . -type f -not -path './target/*' -print0 | sort -z | xargs -0 sha256sum
    printf '%s\n' "$environment" "$@"
  } | sha256sum | cut -c1-64)
  # The second word is the code that the server had afterwards: another hand may have been at it.
  if [ "$(cat "$state/$name.stamp" 2>/dev/null)" = "$stamp $(described "$name" CodeSha256)" ]; then
    word="unchanged"
  else
    if ! output=$("$FREEHOLD_BIN" deploy "$example/$name" --env-file <(printf '%s\n' "$environment") "$@" 2>&1); then
      printf '%s\n' "$output" | tail -n 12 >&2
      die "could not deploy $name; mend what stands above and run 'make run' again"
    fi
    printf '%s %s\n' "$stamp" "$(described "$name" CodeSha256)" >"$state/$name.stamp"
    word="deployed in $((SECONDS - begun)) s"
  fi
  host_url[$name]=$(described "$name" FunctionUrl)
  [ -z "${host_url[$name]}" ] || url[$name]=$(path_form "${host_url[$name]}")
  note "$name: $word${url[$name]:+ → ${url[$name]}}"
}

step "deploying examples/event-booking (the first time, Maven and Cargo fetch and compile)"
# Leaves first: bookings calls the others.
deploy events ''
deploy tickets "TICKET_KEY=$key" --no-url
deploy poster "TICKET_KEY=$key"
[ -n "${url[poster]:-}" ] || die "poster has no URL: 'rm $state/poster.stamp' and run again"
redis=$(FREEHOLD_DATA=$DATA "$ROOT/scripts/redis.sh" url)
if [ -n "$redis" ]; then
  # REDIS_ANSWER_MS, where it is set: examples/event-booking/bookings/store.mjs.
  deploy bookings "$(printf '%s\n' "POSTER_URL=${url[poster]}" "REDIS_URL=$redis" \
    ${REDIS_ANSWER_MS:+"REDIS_ANSWER_MS=$REDIS_ANSWER_MS"})" --network bookings
else
  deploy bookings "POSTER_URL=${url[poster]}" --network none
fi
[ -n "${url[bookings]:-}" ] || die "bookings has no URL: 'rm $state/bookings.stamp' and run again"

step "booking a ticket"
# With an id of the day: who runs this again gets the same ticket, and takes no more seats.
order=$(sed "1s/{/{ \"id\": \"make-run-$(date -u +%F)\",/" "$example/booking.json")
booking=$(curl --silent --show-error --fail-with-body --max-time 60 \
  --header 'Content-Type: application/json' --data "$order" "${url[bookings]}") ||
  die "the booking failed: $booking (look at: $FREEHOLD_BIN logs bookings --data $DATA)"
python3 -m json.tool --no-ensure-ascii <<<"$booking"
poster=$(sed -n 's/.*"poster": *"\([^"]*\)".*/\1/p' <<<"$booking")
[ -n "$poster" ] || die "the booking has no poster: $booking"
kind=$(curl --silent --show-error --max-time 60 --output "$state/ticket.svg" --write-out '%{http_code} %{content_type}' "$poster") ||
  die "the ticket cannot be fetched from $poster"
[ "$kind" = "200 image/svg+xml" ] || die "the ticket is no picture ($kind): $(head -c 300 "$state/ticket.svg")"

if [ -n "$redis" ]; then
  note "kept in Redis at $(redis_listen), whom functions with the policy 'bookings' alone reach;"
  note "the same order with the same id gives the same ticket, and no seat is sold twice"
else
  note "not kept: functions reach no Redis here"
fi

say
say "${bold}The platform runs${plain} at $AWS_ENDPOINT_URL. Try:"
say "  curl ${url[events]:-}"
say "  curl -H 'Content-Type: application/json' -d @examples/event-booking/booking.json ${url[bookings]}"
say "  eval \"\$($FREEHOLD_BIN env --data $DATA)\"   then aws lambda list-functions, boto3, Terraform …"
say "  $FREEHOLD_BIN ps · logs bookings · usage      'make stop' ends it"
say "and in a browser, the ticket:"
say "  ${host_url[poster]}${poster#"${url[poster]}"}"
