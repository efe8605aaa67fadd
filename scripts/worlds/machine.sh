# shellcheck shell=bash
# A small virtual machine for the suites of `make test-v2`: Debian's kernel, this machine's root folder below a
# disk of its own, no network. Sourced after lib.sh, never run.
#
# The root folder is shared read-only (9p) and lies below an overlay whose upper part is a sparse disk: what
# the suites need is there without a copy, and nothing that they write is outside. $work is shared with
# them, for what they say. The kernel comes from its package, as files in the cache: it is not installed.

MACHINE_CACHE=$CACHE/machine
MACHINE_PACKAGE=${MACHINE_PACKAGE:-linux-image-amd64}
# What the kernel must have before the root folder is there; a name that is built in has no file.
MACHINE_EARLY='virtio_pci virtio_blk virtio_console 9pnet_virtio 9p crc32c_generic ext4 overlay'
# Seconds for a probe: a kernel that starts here has said so within five, under emulation within fifteen.
MACHINE_PROBE_SECONDS=${MACHINE_PROBE_SECONDS:-30}

# unpacked PACKAGE PATTERN: a folder in the cache with the files of a Debian package that has files of this
# pattern. What was fetched once stays until `make clean`.
unpacked() {
  local folder=$MACHINE_CACHE/$1 package=$1 fetched real
  if ! [ -e "$folder/.complete" ]; then
    rm -rf "$folder"
    mkdir -p "$folder" "$folder.fetched"
    fetched=$folder.fetched
    chmod 755 "$fetched"
    # The kernel's name without a version is an empty package that depends on the present one.
    real=$(apt-cache depends "$package" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    if ! (cd "$fetched" && apt-get -q download "${real:-$package}") >"$fetched/log" 2>&1; then
      # Its lists may be older than what the archive has.
      ! is_root || apt-get -q update >>"$fetched/log" 2>&1 || true
      real=$(apt-cache depends "$package" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
      (cd "$fetched" && apt-get -q download "${real:-$package}") >>"$fetched/log" 2>&1 || {
        tail -n 3 "$fetched/log" >&2
        die "apt-get could not fetch ${real:-$package}: run 'apt-get update' as root and this again"
      }
    fi
    dpkg -x "$fetched"/*.deb "$folder"
    compgen -G "$folder/$2" >/dev/null || die "the package ${real:-$package} has no $2"
    rm -rf "$fetched"
    touch "$folder/.complete"
  fi
  printf '%s' "$folder"
}

# begin_machine: judges V2_SECONDS and V2_MEMORY_MIB, installs what a machine takes, and makes $work, which goes
# when the script ends.
begin_machine() {
  case $V2_SECONDS$V2_MEMORY_MIB in *[!0-9]*) die "V2_SECONDS and V2_MEMORY_MIB are numbers" ;; esac
  [ "$(uname -m)" = x86_64 ] || die "this machine is a $(uname -m): it would take an emulation of all that runs in it"
  "$ROOT/scripts/setup.sh" v2
  use_target_folder
  work=$(mktemp -d /var/tmp/freehold-v2.XXXXXX)
  chmod 755 "$work"
  trap 'status=$?; rm -rf "$work"; exit "$status"' EXIT
}

# make_machine: fetches and puts together what boots; sets MACHINE_KERNEL, MACHINE_INITRD, MACHINE_MODULES.
make_machine() {
  local kernel busybox tree module
  have qemu-system-x86_64 || die "no qemu-system-x86_64: sudo apt-get install --no-install-recommends qemu-system-x86"
  have apt-get && have dpkg || die "the kernel of this machine comes from a Debian package, by apt-get and dpkg"
  mkdir -p "$MACHINE_CACHE"
  kernel=$(unpacked "$MACHINE_PACKAGE" 'boot/vmlinuz-*')
  busybox=$(unpacked busybox-static bin/busybox)/bin/busybox
  MACHINE_KERNEL=$(compgen -G "$kernel/boot/vmlinuz-*")
  MACHINE_VERSION=${MACHINE_KERNEL##*/vmlinuz-}
  MACHINE_MODULES=$kernel/lib/modules/$MACHINE_VERSION
  [ -d "$MACHINE_MODULES" ] || MACHINE_MODULES=$kernel/usr/lib/modules/$MACHINE_VERSION
  [ -s "$MACHINE_MODULES/modules.dep" ] ||
    "$busybox" depmod -b "${MACHINE_MODULES%/lib/modules/*}" "$MACHINE_VERSION"
  tree=$work/initrd
  mkdir -p "$tree"/{bin,proc,sys,dev,lower,disk,root} "$tree/lib/modules/$MACHINE_VERSION"
  cp "$busybox" "$tree/bin/"
  for module in $MACHINE_EARLY; do
    awk -F '[: ]+' -v end="/$module[.]ko" '$1 ~ end {for (i = 1; i <= NF; i++) if ($i) print $i}' "$MACHINE_MODULES/modules.dep"
  done | sort -u >"$work/modules"
  (cd "$MACHINE_MODULES" && cp --parents -t "$tree/lib/modules/$MACHINE_VERSION" \
    modules.dep modules.alias modules.symbols modules.builtin $(cat "$work/modules"))
  say "$MACHINE_EARLY" >"$tree/modules"
  install -m 755 "$ROOT/scripts/worlds/machine_init.sh" "$tree/init"
  MACHINE_INITRD=$work/initrd.gz
  (cd "$tree" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$MACHINE_INITRD"
  MACHINE_BUSYBOX=$busybox
}

# qemu SECONDS ARGUMENTS…: the part that is always the same. It ends by itself.
qemu() {
  local seconds=$1
  shift
  timeout --foreground --kill-after 10 "$seconds" qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
    -kernel "$MACHINE_KERNEL" -initrd "$MACHINE_INITRD" "$@" </dev/null
}

# Without the mitigations, since nobody attacks it, and since they cost emulation most. A clock that
# programs read without a call of the kernel, which would not trust an emulated counter by itself.
MACHINE_WORDS='console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable cgroup_no_v1=all'

# find_accelerator: sets MACHINE_ACCELERATOR to the arguments with which a kernel starts here. Emulation goes
# through a string instruction byte by byte, by words where the kernel does not take bytes for fast: ten
# times the speed for memory that is copied or cleared.
find_accelerator() {
  local log=$work/probe.log one words
  local kvm='-accel kvm -cpu host' emulation='-accel tcg,thread=multi -cpu max,-erms,-fsrm,-la57'
  for one in "$kvm" "$emulation"; do
    if [ "$one" = "$kvm" ] && ! { [ -r /dev/kvm ] && [ -w /dev/kvm ]; }; then
      note "no KVM: /dev/kvm is not there, or not for this user"
      continue
    fi
    # shellcheck disable=SC2086
    (qemu "$MACHINE_PROBE_SECONDS" $one -m 512M -serial "file:$log" -append "$MACHINE_WORDS freehold.probe") \
      >"$log.qemu" 2>&1 || true
    if grep -q FREEHOLD-STARTS "$log" 2>/dev/null; then
      MACHINE_ACCELERATOR=$one
      return
    fi
    words=$(grep -m 1 '^qemu' "$log.qemu" | sed 's/^[^:]*: //')
    [ "$one" != "$kvm" ] || note "no KVM: /dev/kvm is there, and Debian's kernel does not start by it (${words:-it is silent})"
  done
  die "no kernel starts in qemu here, neither by KVM nor emulated, within $MACHINE_PROBE_SECONDS s (${words:-it is silent}).
It takes a machine with hardware virtualisation for guests, or a processor for itself; MACHINE_PROBE_SECONDS=120 waits longer"
}

# boot_machine SECONDS MEBIBYTES PROGRAM: starts it; PROGRAM runs in it as its first process, as root, and what
# it says is our output. $work/console has the kernel's words; $work/on_disk/tmp is its /var/tmp.
boot_machine() {
  local seconds=$1 memory=$2 program=$3 disk=$work/disk
  case $work$MACHINE_MODULES$program in
    *[[:space:],]*) die "a blank or a comma in a path cannot be told to the machine: $work, $MACHINE_MODULES, $program" ;;
  esac
  mkdir -p "$work/on_disk"
  truncate -s 24G "$disk"
  PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1 -d "$work/on_disk" "$disk"
  # shellcheck disable=SC2086
  qemu "$seconds" $MACHINE_ACCELERATOR -m "$memory" -smp "$(nproc)" \
    -serial "file:$work/console" \
    -device virtio-serial-pci -chardev stdio,id=words,signal=off -device virtconsole,chardev=words \
    -drive "file=$disk,if=none,id=disk,format=raw,cache=unsafe,discard=unmap" -device virtio-blk-pci,drive=disk \
    -fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=root,mount_tag=root \
    -fsdev "local,id=work,path=$work,security_model=none,multidevs=remap" \
    -device virtio-9p-pci,fsdev=work,mount_tag=work \
    -device virtio-rng-pci ${MACHINE_ARGUMENTS:-} \
    -append "$MACHINE_WORDS freehold.work=$work freehold.modules=$MACHINE_MODULES freehold.program=$program"
}

# machine_sdks WORLD…: gives the suites' servers the SDKs that `freehold runtimes install` fetches, which has no network
# in the machine and would wait for one in each server's folder. What was fetched stays in the cache.
machine_sdks() {
  local seed=$MACHINE_CACHE/seed folder
  # shellcheck source=/dev/null
  "$(source "$work/environment" && printf '%s' "$FREEHOLD_BIN")" runtimes install --data "$seed" >"$work/logs/sdks.log" 2>&1 ||
    note "no SDKs could be fetched: $(tail -n 1 "$work/logs/sdks.log")"
  for folder in "$@"; do
    mkdir -p "$work/on_disk/tmp/suites-$folder/assembled/data-0"
    [ ! -d "$seed/sdk" ] || cp -a "$seed/sdk" "$work/on_disk/tmp/suites-$folder/assembled/data-0/"
  done
}
