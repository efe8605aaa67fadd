# shellcheck shell=bash
# Makes the machine of machine.sh ready: mounts what a machine has, cgroup v2 alone with every controller
# handed down, and reads $work/environment. Sourced by its first process, whose argument is the work folder; it
# switches the machine off when that ends.
set -uo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
work=$1
off() {
  sync
  /run/machine/busybox poweroff -f
}
trap off EXIT

# The kernel asks for modules by name.
ln -s busybox /run/machine/modprobe
echo /run/machine/modprobe >/proc/sys/kernel/modprobe
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
for name in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
  [ -e "/dev/${name%%:*}" ] || ln -s "${name#*:}" "/dev/${name%%:*}"
done
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
# As udev has it on a machine that starts the usual way.
modprobe() { /run/machine/modprobe "$@"; }
modprobe loop
hostname machine
ip link set lo up
# A way out that leads nowhere: without one the kernel refuses by itself what functions are refused by rules.
modprobe dummy
ip link add out0 type dummy
ip address add 192.0.2.2/24 dev out0
ip link set out0 up
ip route add default via 192.0.2.1
ulimit -n 65536
say() { printf '%s\n' "$*"; }
step() { say "==> $*"; }
cd "$(dirname "$0")/../.." || exit 2

printf '    in it: Linux %s, %s processors, %s MiB, control groups: %s\n' "$(uname -r)" "$(nproc)" \
  "$(($(awk '/^MemTotal/{print $2}' /proc/meminfo) / 1024))" "$(cat /sys/fs/cgroup/cgroup.subtree_control)"
# shellcheck source=/dev/null
source "$work/environment"
# One Python is enough: to take ten of a version manager apart is minutes of emulation.
own=$("$SUITES_VENV/bin/python" -c 'import sys; print(sys.base_prefix)')
for folder in /root/.pyenv/versions/* /root/.nvm/versions/node/* /root/.sdkman/candidates/java/*; do
  [ ! -d "$folder" ] || [ "$folder" -ef "$own" ] || mount -t tmpfs none "$folder"
done
