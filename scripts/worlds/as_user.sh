#!/usr/bin/env bash
# As root: runs a command as an ordinary user without an account, who reaches the given folders even where
# they lie below closed ones (root's home).  as_user.sh UID FOLDERS COMMAND…
#
# FOLDERS is a file with a folder a line. A mount namespace of its own has empty folders in place of the
# closed ones, with those that are named mounted in them; nothing of it is seen outside, or outlives it.
set -euo pipefail

if [ "$1" != --inside ]; then
  exec unshare --mount --propagation private "$0" --inside "$@"
fi
uid=$2 folders=$3
shift 3

others_may_pass() { (($(stat -c '0%a' "$1") & 1)); }

# closed_above FOLDER: the highest folder above it that the user may not pass; nothing without one.
closed_above() {
  local at='' part parts
  IFS=/ read -ra parts <<<"${1#/}"
  for part in "${parts[@]:0:${#parts[@]}-1}"; do
    at=$at/$part
    others_may_pass "$at" || { echo "$at"; return; }
  done
}

held=$(mktemp -d /run/fh-held.XXXXXX)
mount -t tmpfs tmpfs "$held"
number=0
declare -A closed=()
moves=()
while read -r folder; do
  above=$(closed_above "$(readlink -f "$folder")")
  [ -n "$above" ] || continue
  closed[$above]=1
  number=$((number + 1))
  mkdir "$held/$number"
  mount --rbind "$folder" "$held/$number"
  moves+=("$number" "$(readlink -f "$folder")")
done < <(sort -u "$folders")
for above in "${!closed[@]}"; do mount -t tmpfs -o mode=755 tmpfs "$above"; done
for ((at = 0; at < ${#moves[@]}; at += 2)); do
  mkdir -p "${moves[at + 1]}"
  mount --rbind "$held/${moves[at]}" "${moves[at + 1]}"
done
umount -R -l "$held"
rmdir "$held"
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
