#!/bin/bash
# Process 1 of a lab host, or of the lab's switch.
#
#   host_init.sh enter ROLE DIR NAME LEASH     in fresh namespaces; says "ready", waits for the lab's "go ADDRESS"
#   host_init.sh boot  ROLE DIR NAME LEASH ... the same process again, now in a cgroup namespace of its own
#
# Started by tests/lab/namespaces.py, never by hand. The lab's process writes to our stdin and reads our stdout. When
# this process dies the kernel kills everything in its pid namespace and frees its network devices: that is the whole
# teardown. With LEASH=tied it dies by itself as soon as stdin closes, that is, with the process that made the lab.
set -eu
stage=$1 role=$2 dir=$3 name=$4 leash=$5
here=$(dirname "$(readlink -f "$0")")

if [ "$stage" = enter ]; then
  echo ready
  # By now the lab has put us into our cgroup and plugged the network; no answer means that it has gone.
  read -r word address || exit 0
  [ "$word" = go ]
  exec unshare --cgroup "$0" boot "$role" "$dir" "$name" "$leash" "$address"
fi

address=$6
root=$dir/root

mount_cgroups() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ] || [ ! -d "$root/cgroup-v1" ]; then
    umount -R -l /sys
    mount -t sysfs sysfs /sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # A cgroup that holds processes hands no controllers to its children: this host's own go aside.
    mkdir -p /sys/fs/cgroup/init
    echo 1 > /sys/fs/cgroup/init/cgroup.procs
    for c in $(cat /sys/fs/cgroup/cgroup.controllers); do
      echo "+$c" > /sys/fs/cgroup/cgroup.subtree_control || echo "no cgroup controller $c here" >&2
    done
    return
  fi
  # Unmount first: with the old trees still below, /proc/mounts would list each hierarchy twice.
  umount -R -l /sys
  mount -t sysfs sysfs /sys
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for c in $(ls "$root/cgroup-v1"); do
    mkdir "/sys/fs/cgroup/$c"
    mount -t cgroup -o "$c" cgroup "/sys/fs/cgroup/$c"
  done
}

# A /dev of our own: own terminals, and /dev/kvm only where asked for. Nothing may stay mounted below the new one,
# because libvirt moves every submount of /dev that it finds in /proc/mounts into the guest's own /dev.
mount_dev() {
  mkdir -p "$root/dev"
  mount -t tmpfs -o mode=755,size=1m tmpfs "$root/dev"
  for n in null zero full random urandom tty loop-control fuse ${LAB_WITH_KVM:+kvm}; do
    [ ! -e "/dev/$n" ] || cp -a "/dev/$n" "$root/dev/$n"
  done
  mkdir "$root"/dev/{net,pts,shm,hugepages,mqueue}
  mknod -m 0666 "$root/dev/net/tun" c 10 200
  ln -s /proc/self/fd "$root/dev/fd"
  ln -s fd/0 "$root/dev/stdin"
  ln -s fd/1 "$root/dev/stdout"
  ln -s fd/2 "$root/dev/stderr"
  ln -s pts/ptmx "$root/dev/ptmx"
  umount -R -l /dev
  mount --move "$root/dev" /dev
  rmdir "$root/dev"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts
  mount -t tmpfs tmpfs /dev/shm
}

mount_state() {
  mkdir -p /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
  mount --bind "$root/etc" /etc/libvirt
  mount --bind "$root/lib" /var/lib/libvirt
  mount --bind "$root/log" /var/log/libvirt
  mount --bind "$root/cache" /var/cache/libvirt
  mount --bind "$root/etc/hosts" /etc/hosts
  if [ -n "${LAB_TC_SHIM:-}" ]; then
    tc=$(readlink -f "$(command -v tc)")
    touch "$root/run/tc.real"
    mount --bind "$tc" "$root/run/tc.real"
    mount --bind "$here/tc_shim.sh" "$tc"
  fi
  mount --rbind "$root/run" /run
}

hostname "$name"
ip link set lo up
if [ "$role" = switch ]; then
  ip link set br0 up
else
  mount_cgroups
  mount_dev
  mount_state
  ip addr add "$address/24" dev mgmt0
  ip link set mgmt0 up
  echo 1 > /proc/sys/net/ipv4/ip_forward
  virtlogd -d
  libvirtd -d --listen
fi
echo up
exec >&2

# Bash reaps whatever is re-parented to us while it waits here.
if [ "$leash" = tied ]; then
  while read -r _; do :; done
  exit 0
fi
exec </dev/null
while :; do
  sleep infinity &
  wait $! || :
done
