#!/usr/bin/env bash
# `make test-systemd`: the service under a systemd that runs it, in namespaces of our own: Debian's, from a small
# root folder (debootstrap) that is kept in the cache. There the package comes, serves, is reloaded, restarted,
# killed, starts with the machine and is purged; then `freehold install` does the same.
#
# Nothing of this machine is changed: the folder is copied, the network is one without links, and control groups
# lie below one of ours. The log of a run that failed is shown; SYSTEMD_KEEP=FOLDER keeps it always.
# SYSTEMD_BIN is a binary to take in place of one that is built.
source "$(dirname "$0")/lib.sh"
source "$ROOT/scripts/worlds/programs.sh"
source "$ROOT/scripts/worlds/machine.sh"

SYSTEMD_RELEASE=${SYSTEMD_RELEASE:-bookworm}
SYSTEMD_MIRROR=${SYSTEMD_MIRROR:-http://deb.debian.org/debian}
# For each part of the suite; the parts are made of steps of a few seconds.
SYSTEMD_SECONDS=${SYSTEMD_SECONDS:-300}
case $SYSTEMD_SECONDS in *[!0-9]*) die "SYSTEMD_SECONDS is a number" ;; esac
PACKAGES=systemd,systemd-sysv,dbus,procps,iproute2,nftables,e2fsprogs,python3
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# skip REASON: what this machine lacks is no failure of the service, and is said.
skip() {
  say "    SKIPPED: $1"
  say "0 passed, 0 failed, 1 skipped"
  [ -z "${FREEHOLD_COUNTS_FILE:-}" ] || say "0 passed, 0 failed, 1 skipped" >"$FREEHOLD_COUNTS_FILE"
  exit 0
}
is_root || skip "only root boots a systemd"
export PATH=$PATH:/usr/sbin:/sbin
for tool in unshare nsenter pivot_root apt-get dpkg wget; do
  have "$tool" || skip "there is no $tool"
done
unshare --pid --mount --uts --ipc --net --cgroup --fork true 2>/dev/null ||
  skip "this machine lets root make no namespaces (a container without CAP_SYS_ADMIN?)"

work=$(mktemp -d /var/tmp/freehold-systemd.XXXXXX)
chmod 755 "$work"
mkdir "$work/shared"
groups=() outside='' init=''
leave() {
  local status=$?
  [ -z "$outside" ] || end_machine
  remove_groups || status=1
  if [ -n "${SYSTEMD_KEEP:-}" ]; then
    mkdir -p "$SYSTEMD_KEEP"
    cp "$work"/*.log "$SYSTEMD_KEEP" 2>/dev/null || true
  fi
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM

# base_root: prints the folder with Debian in it, made once for a list of packages.
base_root() {
  local folder tools
  folder=$CACHE/systemd/$SYSTEMD_RELEASE-$(say "$PACKAGES" | sha256sum | cut -c1-12)
  if ! [ -e "$folder.complete" ]; then
    [ -r "$KEYRING" ] || { say "there is no $KEYRING (the package debian-archive-keyring)" >&2; return 1; }
    tools=$(unpacked debootstrap usr/sbin/debootstrap) || return 1
    rm -rf --one-file-system "$folder"
    mkdir -p "$CACHE/systemd"
    # In mounts of its own, so that an end half-way leaves none.
    DEBOOTSTRAP_DIR=$tools/usr/share/debootstrap unshare --mount --propagation private \
      "$tools/usr/sbin/debootstrap" --variant=minbase --keyring="$KEYRING" --include="$PACKAGES" \
      "$SYSTEMD_RELEASE" "$folder" "$SYSTEMD_MIRROR" >"$work/debootstrap.log" 2>&1 ||
      { tail -n 3 "$work/debootstrap.log" >&2; return 1; }
    rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*
    touch "$folder.complete"
  fi
  printf '%s' "$folder"
}

# make_groups: a control group of ours in every hierarchy of the machine, into `groups`: where v2 is alone at the
# top, as for `delegate`; otherwise below the one that we are in.
make_groups() {
  local point rest kind name own folder file
  while read -r _ _ _ _ point _ rest; do
    rest=${rest#*- } kind=${rest%% *} name=${rest##*,}
    case $kind in
      cgroup2) own=$(sed -n 's/^0:://p' /proc/self/cgroup) ;;
      cgroup) own=$(awk -F : -v name="$name" '{split($2, all, ","); for (i in all) if (all[i] == name) print $3}' /proc/self/cgroup) ;;
      *) continue ;;
    esac
    case $point in /sys/fs/cgroup) own='' ;; /sys/fs/cgroup/*) ;; *) continue ;; esac
    folder=$point${own%/}/freehold-systemd-$$
    mkdir "$folder"
    groups+=("$folder")
    # v1 takes no process into a set that is empty.
    for file in cpuset.cpus cpuset.mems; do
      [ "$kind" = cgroup2 ] || ! [ -e "$folder/$file" ] || cat "${folder%/*}/$file" >"$folder/$file"
    done
  done </proc/self/mountinfo
}

remove_groups() {
  local folder status=0
  for folder in "${groups[@]}"; do
    for _ in $(seq 50); do
      [ ! -e "$folder" ] || find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ -e "$folder" ] || continue 2
      sleep 0.1
    done
    say "    left behind: $folder" >&2
    status=1
  done
  groups=()
  return "$status"
}

# inside COMMAND…: in the machine, as root.
inside() {
  nsenter --target "$init" --pid --mount --uts --ipc --net --cgroup --root --wdns=/ \
    env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# boot_systemd: starts it and waits until its systemd has started what it starts.
boot_systemd() {
  local state=''
  (
    for folder in "${groups[@]}"; do echo "$BASHPID" >"$folder/cgroup.procs"; done
    exec unshare --pid --mount --uts --ipc --net --cgroup --fork --kill-child --propagation private \
      "$ROOT/scripts/worlds/systemd_boot.sh" "$work/root" "$work/shared"
  ) >"$work/boot.log" 2>&1 </dev/null &
  outside=$!
  for _ in $(seq 600); do
    sleep 0.1
    [ -d "/proc/$outside" ] || break
    init=$(pgrep -P "$outside" | head -n 1) || continue
    [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ] || continue
    state=$(inside systemctl is-system-running 2>/dev/null) || true
    case $state in running | degraded) return ;; esac
  done
  cat "$work/boot.log"
  [ -z "$state" ] || inside journalctl --no-pager --lines 20 || true
  die "systemd did not start in namespaces of ours (${state:-it said nothing})"
}

# end_machine: as `poweroff` does, then with force.
end_machine() {
  [ -z "$init" ] || kill -s RTMIN+4 "$init" 2>/dev/null || true
  for _ in $(seq 300); do
    [ -d "/proc/$outside" ] || break
    sleep 0.1
  done
  kill -KILL "$outside" 2>/dev/null && say "    the machine was ended by force" || true
  wait "$outside" 2>/dev/null || true
  outside='' init=''
}

# suite PART: what it says and counts is ours.
suite() {
  local status=0
  inside timeout --kill-after 10 "$SYSTEMD_SECONDS" bash /run/shared/suite.sh "$1" || status=$?
  if [ "$status" != 0 ]; then
    say "    $1 ended with $status; the journal's last lines:"
    inside journalctl --no-pager --lines 40 || true
    say "0 1 0" >>"$work/shared/counts"
  fi
  inside journalctl --no-pager >"$work/$1.log" 2>&1 || true
}

step "a root folder with Debian's systemd ($SYSTEMD_RELEASE)"
base=$(base_root) || skip "Debian $SYSTEMD_RELEASE could not be fetched; its reason stands above"
cp -a --reflink=auto "$base" "$work/root"
# It has no console to log in at.
ln -s /dev/null "$work/root/etc/systemd/system/console-getty.service"
if [ -n "${SYSTEMD_BIN:-}" ]; then
  binary=$SYSTEMD_BIN
else
  "$ROOT/scripts/setup.sh" run
  step "building"
  build_binary
  binary=$FREEHOLD_BIN
fi
step "packing"
DEB_LEVEL=0 "$ROOT/packaging/deb/build.sh" "$binary" "$work" >/dev/null
mv "$work"/*.deb "$work/shared/freehold.deb"
strip --strip-debug -o "$work/shared/freehold" "$binary"
cp "$ROOT/scripts/worlds/systemd_suite.sh" "$work/shared/suite.sh"

begun=$SECONDS
step "what Debian says of the package"
if have lintian; then
  # What is overridden has its reason beside it, in packaging/deb/lintian-overrides.
  counted='1 0 0'
  lintian --allow-root --no-cfg --fail-on error,warning "$work/shared/freehold.deb" || counted='0 1 0'
  say "$counted" >>"$work/shared/counts"
else
  say "    SKIPPED lintian: it is not installed"
  say "0 0 1" >>"$work/shared/counts"
fi
make_groups
step "the package"
boot_systemd
note "$(inside systemctl --version | head -n 1), $(inside systemctl show --property Tainted)"
suite package
end_machine
step "the package, in a machine that started again"
boot_systemd
suite package_again
step "freehold install"
suite install
end_machine
step "nothing is left of it"
if remove_groups; then say "1 0 0"; else say "0 1 0"; fi >>"$work/shared/counts"
note "in $((SECONDS - begun)) s"
finish_counts "$work/shared/counts"
