#!/usr/bin/env bash
# The first process in the namespaces of `make test-systemd`: puts together what a machine has, on top of a
# root folder with Debian in it, and becomes its systemd.  systemd_boot.sh ROOT SHARED
#
# SHARED is seen in it as /run/shared. Of the machine outside there is nothing else: its devices
# are nodes of ours, what the kernel has one of for all is read-only (/proc/sys, but for the network's).
set -euo pipefail

root=$1 shared=$2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
if [ -e "$root/proc/sysrq-trigger" ]; then mount --bind /dev/null "$root/proc/sysrq-trigger"; fi
# Written to: bounds of what waits in memory of a function's /tmp.
mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"

mount -t tmpfs -o mode=755,nosuid,noexec tmpfs "$root/dev"
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 loop-control:10:237 fuse:10:229; do
  IFS=: read -r name major minor <<<"$node"
  mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done
chmod 660 "$root/dev/loop-control"
# The kernel makes nodes of loop devices in its own /dev alone.
cp -a /dev/loop[0-9]* "$root/dev/"
# What systemd says to a console is in its journal too; the one of the machine is not its.
mknod -m 600 "$root/dev/console" c 1 3
for name in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
  ln -s "${name#*:}" "$root/dev/${name%%:*}"
done
mkdir -p "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,mode=620,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"

# Control groups as the machine has them, from our own group downwards.
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 "$root/sys/fs/cgroup"
else
  mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
  while read -r _ _ _ _ point _ rest; do
    kind=${rest#*- } kind=${kind%% *} options=${rest##* }
    case $kind in
      cgroup) options=${options#rw,} ;;
      cgroup2) options=defaults ;;
      *) continue ;;
    esac
    case $point in /sys/fs/cgroup/*/* | "$root"*) continue ;; /sys/fs/cgroup/*) ;; *) continue ;; esac
    [ ! -e "$root$point" ] || continue
    mkdir "$root$point"
    mount -t "$kind" -o "$options" "$kind" "$root$point"
  done </proc/self/mountinfo
  # systemd would mount controllers that the machine has left alone, and take them away from it.
  mount -o remount,bind,ro "$root/sys/fs/cgroup"
fi

mkdir "$root/run/shared"
mount --bind "$shared" "$root/run/shared"
ip link set lo up
hostname machine
cd "$root"
mkdir -p run/outside
pivot_root . run/outside
umount -l run/outside
rmdir run/outside
exec chroot . /usr/bin/env -i container=freehold PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --unit=multi-user.target
