#!/usr/bin/env bash
# Deploys examples/event-booking to the running server, books a ticket and prints what to try.
# Needs no AWS tool: the binary is a client like any other, and curl books.
#
# What it expects of the example: one folder per function, `bookings` answering a POST of
# booking.json with a JSON document that names the booking's `id`, `events` a GET with the list, and
# `poster` a GET of `/ID` with the ticket as SVG.
source "$(dirname "$0")/lib.sh"

use_target_folder
example=$ROOT/examples/event-booking
[ -d "$example" ] || die "examples/event-booking is not in this clone"
[ -n "$(server_pid)" ] || die "no server runs on $DATA: start it with 'make run'"
eval "$("$FREEHOLD_BIN" env --data "$DATA")"

# path_form NAME: the URL of a deployed function in the form that every tool resolves.
declare -A url
deploy() {
  local folder=$1 output
  if ! output=$("$FREEHOLD_BIN" deploy "$example/$folder" --public 2>&1); then
    printf '%s\n' "$output" | tail -n 10 >&2
    die "could not deploy $folder; mend what stands above and run scripts/run-example.sh again"
  fi
  url[$folder]=$(grep -o 'http://[^ ]*/_freehold/url/[^ ]*' <<<"$output" | head -n 1)
  [ -n "${url[$folder]}" ] || die "deploy of $folder printed no URL: $output"
  note "$folder → ${url[$folder]}"
}

step "deploying examples/event-booking"
# Leaves first: bookings calls the others.
for folder in events tickets poster bookings; do
  deploy "$folder"
done

step "booking a ticket"
booking=$(curl --silent --show-error --fail-with-body --max-time 60 \
  --header 'Content-Type: application/json' --data @"$example/booking.json" "${url[bookings]}") ||
  die "the booking failed: $booking (look at: $FREEHOLD_BIN logs bookings)"
say "$booking"
id=$(sed -n 's/.*"id"[: ]*"\([^"]*\)".*/\1/p' <<<"$booking")
[ -n "$id" ] || die "the booking has no id: $booking"

say
say "${bold}The platform runs${plain} at $AWS_ENDPOINT_URL. Try:"
say "  curl ${url[events]}"
say "  curl -H 'Content-Type: application/json' -d @examples/event-booking/booking.json ${url[bookings]}"
say "  ${url[poster]}$id   (the ticket, in a browser)"
say "  eval \"\$($FREEHOLD_BIN env --data $DATA)\"   then aws lambda list-functions, boto3, Terraform …"
say "  $FREEHOLD_BIN ps · logs bookings · usage      'make stop' ends it"
