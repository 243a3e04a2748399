#!/bin/sh
# Process 1 of the libvirt host's container: virtlogd beside libvirtd. QEMU's user passes through the shared folders.
set -eu
mkdir -p /var/lib/guesthouse/images /var/lib/guesthouse/pool /run/guesthouse/guests
chmod 0711 /var/lib/guesthouse /var/lib/guesthouse/images /var/lib/guesthouse/pool /run/guesthouse
chown libvirt-qemu:kvm /run/guesthouse/guests
chmod 0770 /run/guesthouse/guests
[ ! -e /dev/kvm ] || { chgrp kvm /dev/kvm && chmod 0660 /dev/kvm; }
rm -f /run/libvirtd.pid /run/virtlogd.pid
virtlogd -d
exec libvirtd
