#!/bin/sh
# Process 1 of the libvirt host's container: virtlogd beside libvirtd. QEMU's user passes through the shared folders.
set -eu

# Docker shows these read-only to whoever is not privileged; libvirt writes limits and settings of networks there.
for mounted in /proc/sys $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do mount -o remount,rw,bind "$mounted"; done

# device NAME PATH: make it where the kernel has it
device() {
    minor=$(awk -v name="$1" '$2 == name { print $1 }' /proc/misc)
    [ -z "$minor" ] || [ -e "$2" ] || mknod -m 0666 "$2" c 10 "$minor"
}
mkdir -p /dev/net
device tun /dev/net/tun
device kvm /dev/kvm
[ ! -e /dev/kvm ] || { chgrp kvm /dev/kvm && chmod 0660 /dev/kvm; }

mkdir -p /var/lib/guesthouse/images /var/lib/guesthouse/pool /run/guesthouse/guests
chmod 0711 /var/lib/guesthouse /var/lib/guesthouse/images /var/lib/guesthouse/pool /run/guesthouse
chown libvirt-qemu:kvm /run/guesthouse/guests
chmod 0770 /run/guesthouse/guests
# What ran ended with the container it ran in; what was defined stands in /etc/libvirt.
rm -rf /run/libvirt/* /run/libvirtd.pid /run/virtlogd.pid
virtlogd -d
# Not exec: machines outlive the daemon that began them and are left to process 1, which must notice when they end.
libvirtd &
daemon=$!
trap 'kill -TERM "$daemon"' TERM INT
while kill -0 "$daemon" 2>/dev/null; do wait "$daemon" || code=$?; done
exit "${code:-0}"
