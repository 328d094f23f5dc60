#!/usr/bin/env bash
# Boots the systemd of a Debian tree as the first process of namespaces of its own (processes, mounts, network,
# control groups), so that it is the real one and reaches nothing of this machine. SIGTERM ends it.
#
#   boot.sh TREE     as root

set -euo pipefail

tree="$1"
name="fanwire-boot-$$"

if [[ "${2:-}" != inside ]]; then
  # Version 2 of control groups, else systemd's own hierarchy of version 1.
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then hierarchy=/sys/fs/cgroup; else hierarchy=/sys/fs/cgroup/systemd; fi
  mkdir "$hierarchy/$name"
  (
    echo "$BASHPID" >"$hierarchy/$name/cgroup.procs"
    exec unshare --net --mount --pid --uts --ipc --cgroup --fork --kill-child "$0" "$tree" inside
  ) &
  child=$!
  # shellcheck disable=SC2329 # called by the trap
  finish() {
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
    # What is left of it takes a moment to go.
    for _ in {1..100}; do
      find "$hierarchy/$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [[ -d "$hierarchy/$name" ]] || break
      sleep 0.05
    done
  }
  trap finish EXIT
  trap 'exit 0' TERM INT
  wait "$child"
  exit
fi

mount --make-rprivate /
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
# What the kernel shares among all namespaces is not this systemd's to set; seeing that, it leaves it.
mount --bind "$tree/proc/sys" "$tree/proc/sys"
mount -o remount,bind,ro "$tree/proc/sys"
mount -t sysfs -o ro sysfs "$tree/sys"
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
  mount -t cgroup2 cgroup2 "$tree/sys/fs/cgroup"
else
  mount -t tmpfs -o mode=755 tmpfs "$tree/sys/fs/cgroup"
  mkdir "$tree/sys/fs/cgroup/systemd"
  mount -t cgroup -o none,name=systemd cgroup "$tree/sys/fs/cgroup/systemd"
fi
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
# Nodes of its own, since it changes their modes.
mount -t tmpfs -o mode=755 tmpfs "$tree/dev"
mknod -m 666 "$tree/dev/null" c 1 3
mknod -m 666 "$tree/dev/zero" c 1 5
mknod -m 666 "$tree/dev/full" c 1 7
mknod -m 666 "$tree/dev/random" c 1 8
mknod -m 666 "$tree/dev/urandom" c 1 9
mknod -m 666 "$tree/dev/tty" c 5 0
mkdir "$tree/dev/shm" "$tree/dev/pts"
mount -t tmpfs tmpfs "$tree/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$tree/dev/pts"
ln -s pts/ptmx "$tree/dev/ptmx"
ip link set lo up

# Not chroot: user namespaces, which PrivateUsers= needs, are refused inside of one.
cd "$tree"
mkdir -p run/old
pivot_root . run/old
cd /
umount -l /run/old
# Or what systemd mounts for a service, such as its credentials, would not reach it.
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system
