#!/usr/bin/env bash
# `make test-rootless`: the sandbox and limit suites as an ordinary user; root makes one for it, a number without
# an account. Where the machine has cgroup v2 with controllers root delegates a group to the user, as
# systemd does; elsewhere the suites see, and `freehold doctor` says, what then holds nobody.
source "$(dirname "$0")/lib.sh"
source "$ROOT/scripts/worlds/programs.sh"

"$ROOT/scripts/setup.sh" test
use_target_folder
work=$(mktemp -d /var/tmp/freehold-rootless.XXXXXX)
chmod 755 "$work"
group=''
leave() {
  local status=$?
  undelegate "$group" || status=1
  rm -rf "$work"
  exit "$status"
}
trap leave EXIT

build_programs "$work/environment"
mkdir "$work/user"
counts=$work/user/counts
as_user=()
user=$(id -u)
if is_root; then
  user=$SUITES_UID
  ! getent passwd "$user" >/dev/null || die "user id $user has an account here: set SUITES_UID to one that has none"
  # Somebody's processes with this number would be taken for left over.
  ! pgrep -u "$user" >/dev/null || die "user id $user has processes: set SUITES_UID to one that has none"
  chown "$user:$user" "$work/user"
  needed_folders >"$work/folders"
  as_user=("$ROOT/scripts/worlds/as_user.sh" "$user" "$work/folders")
  group=$(delegate "$user")
fi
"${as_user[@]}" unshare --user --mount true 2>/dev/null ||
  die "this machine forbids user namespaces to ordinary users"
{
  printf 'SUITES_WORK=%q\n' "$work/user"
  printf 'SUITES_GROUPS=%q\n' "$group"
} >>"$work/environment"

world="an ordinary user, $([ -n "$group" ] && say "with a delegated group" || say "without control groups")"
in_group "$group" "${as_user[@]}" "$ROOT/scripts/worlds/suites.sh" "$world" "$work/environment" "$counts" || true
# It writes that last: suites that died half-way are not fewer tests that passed.
[ -e "$work/user/ended" ] || say "0 1 0" >>"$counts"
! is_root || no_process_of "$user" >>"$counts"
finish_counts "$counts"
