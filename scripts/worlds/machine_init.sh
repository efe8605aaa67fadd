#!/bin/busybox sh
# The first program of the machine of `make test-v2`, in its initrd: puts the root folder together and hands
# over to a program that lies in it (scripts/worlds/machine.sh).
export PATH=/bin
# It finds itself by /proc.
busybox mount -t proc proc /proc
busybox --install -s /bin
for word in $(cat /proc/cmdline); do
  case $word in
    freehold.probe)
      echo FREEHOLD-STARTS
      poweroff -f
      ;;
    freehold.work=*) work=${word#*=} ;;
    freehold.modules=*) modules=${word#*=} ;;
    freehold.program=*) program=${word#*=} ;;
  esac
done

fail() {
  echo "freehold: the machine could not start: $1"
  poweroff -f
}
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules); do
  modprobe "$module" 2>/dev/null
done
for _ in $(seq 100); do
  [ -b /dev/vda ] && [ -c /dev/hvc0 ] && break
  sleep 0.1
done
exec </dev/hvc0 >/dev/hvc0 2>&1

share=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "ro,cache=loose,$share" root /lower || fail "no root folder"
mount -t ext4 -o discard /dev/vda /disk || fail "no disk"
mkdir -p /disk/upper /disk/aside /disk/tmp
chmod 1777 /disk/tmp
mount -t overlay -o lowerdir=/lower,upperdir=/disk/upper,workdir=/disk/aside overlay /root || fail "no overlay"
# Folders that the suites write, on the disk itself; of the machine outside they show nothing.
mount --bind /disk/tmp /root/var/tmp
mkdir /disk/tmp.short && chmod 1777 /disk/tmp.short && mount --bind /disk/tmp.short /root/tmp
mkdir -p "/root$work" "/root/lib/modules/$(uname -r)"
mount -t 9p -o "cache=none,$share" work "/root$work" || fail "no shared folder"
mount --bind "/lower$modules" "/root/lib/modules/$(uname -r)"
mount -t tmpfs -o mode=755 run /root/run
mkdir /root/run/machine
cp /bin/busybox /root/run/machine/
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
exec switch_root /root "$program" "$work"
