#!/usr/bin/env bash
# The first process of the machine of `make test-v2`, in its root folder: runs the suites, and switches off.
#   machine_suites.sh WORK
source "$(dirname "$0")/machine_ready.sh"

source scripts/worlds/programs.sh

# suites NAME WORLD GROUP COMMAND…: the suites with a folder of their own, started by COMMAND.
suites() {
  local name=$1 world=$2 group=$3 folder=/var/tmp/suites-$1
  shift 3
  {
    cat "$work/environment"
    printf 'SUITES_WORK=%q\nSUITES_GROUPS=%q\n' "$folder" "$group"
  } >"$folder/environment"
  in_group "$group" "$@" scripts/worlds/suites.sh "$world" "$folder/environment" "$folder/counts"
  cat "$folder/counts" >>"$work/counts"
  mkdir "$work/logs/$name"
  cp "$folder"/*.log "$work/logs/$name/" 2>/dev/null
  # It writes that last.
  [ -e "$folder/ended" ]
}

whole=yes
for world in $MACHINE_WORLDS; do
  mkdir -p "/var/tmp/suites-$world"
  case $world in
    root) suites root "cgroup v2, root" "" || whole='' ;;
    user)
      chown -R "$SUITES_UID:$SUITES_UID" /var/tmp/suites-user
      group=$(delegate "$SUITES_UID")
      suites user "cgroup v2, an ordinary user with a delegated group" "$group" \
        scripts/worlds/as_user.sh "$SUITES_UID" "$work/folders" || whole=''
      no_process_of "$SUITES_UID" >>"$work/counts"
      undelegate "$group" || whole=''
      ;;
  esac
done
[ -z "$whole" ] || touch "$work/ended"
