#!/bin/bash
# Build a Debian 12 image for guests: systemd, cloud-init, sshd, guest agent; boots through BIOS, UEFI and Secure Boot.
#
#   debian12.sh OUT CACHE       OUT: the qcow2 file to write; CACHE: a directory for downloaded packages
#
# Packages come from the Debian mirrors of this machine's own apt sources; a machine that has none (Ubuntu) leaves the
# choice to mmdebstrap, and needs debian-archive-keyring. The default user is debian, who may sudo; nobody can log in
# until a seed gives a key or a password. The root partition is the last one and grows to the disk's size.
#
# Needs root (packages are configured in a chroot, and files keep their owners), mmdebstrap, mtools, dosfstools, fdisk,
# e2fsprogs, qemu-utils. Needs no loop devices. x86_64 only.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
SUITE=bookworm ESP_MIB=16 DISK_MIB=2048
here=$(dirname "$(readlink -f "$0")")
out=$(readlink -f "$1") cache=$(readlink -f "$2")
. "$here/packages.sh"

[ "$(id -u)" = 0 ] || die "needs root"
[ "$(dpkg --print-architecture)" = amd64 ] || die "the Debian image is built on amd64 only"
need_commands mmdebstrap mcopy mkfs.vfat sfdisk mkfs.ext4 qemu-img
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || die "the package debian-archive-keyring is missing"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

# --- the system -------------------------------------------------------------------------------------------------
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
sources() { # LABEL SUITE...: source lines for the repositories of this label that this machine uses itself
  local label=$1 uri suite
  shift
  # shellcheck disable=SC2016  # $(LABEL) is apt's
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    awk -v label="$label" '$1 == label {print $2; exit}' |
    while read -r uri; do for suite in "$@"; do echo "deb [signed-by=$keyring] $uri $suite main"; done; done
}
mapfile -t mirrors < <(sources Debian "$SUITE" "$SUITE-updates"; sources Debian-Security "$SUITE-security")

packages=(
  linux-image-cloud-amd64 initramfs-tools lz4 systemd-sysv systemd-resolved systemd-timesyncd libpam-systemd udev dbus
  cloud-init cloud-guest-utils openssh-server qemu-guest-agent iproute2 iputils-ping netbase ca-certificates sudo
  e2fsprogs fdisk less nano curl
)
archives=$cache/$SUITE
mkdir -p "$archives"
mmdebstrap --quiet --mode=root --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --skip=download/empty,essential/unlink --setup-hook='mkdir -p "$1/var/cache/apt/archives"' \
  --setup-hook="cp -t \"\$1/var/cache/apt/archives\" \"$archives\"/*.deb 2>/dev/null || :" \
  --customize-hook="cp -n -t \"$archives\" \"\$1\"/var/cache/apt/archives/*.deb 2>/dev/null || :" \
  --customize-hook="cp -r --no-preserve=ownership \"$here/debian12/.\" \"\$1/\"" \
  --customize-hook='chroot "$1" update-initramfs -u' \
  --customize-hook='chroot "$1" systemctl --quiet enable systemd-networkd systemd-resolved' \
  --customize-hook='chroot "$1" systemctl --quiet disable e2scrub_reap.service e2scrub_all.timer' \
  "$SUITE" "$root" "${mirrors[@]}"

# What belongs to one machine and not to an image.
: > "$root/etc/machine-id"
echo debian > "$root/etc/hostname"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
rm -rf "$root"/etc/ssh/ssh_host_* "$root"/var/lib/dbus/machine-id "$root"/var/lib/systemd/random-seed \
  "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/ldconfig/* "$root"/root/.bash_history \
  "$root"/etc/*- "$root"/tmp/* "$root"/var/tmp/*
find "$root/var/log" -type f -delete

# --- partitions -------------------------------------------------------------------------------------------------
fetch_packages "$cache" grub-pc-bin grub-common grub-efi-amd64-signed shim-signed
unpack_packages "$cache" "$work/pkg"
disk=$work/disk.raw esp=$work/esp.img rootfs=$work/root.img
truncate -s ${DISK_MIB}M "$disk"
sfdisk -q "$disk" <<TABLE
label: dos
start=2048, size=$((ESP_MIB * 2048)), type=ef
start=$(((1 + ESP_MIB) * 2048)), type=83, bootable
TABLE
truncate -s ${ESP_MIB}M "$esp"
mkfs.vfat -F 16 -s 4 -n EFI "$esp" >/dev/null
printf 'search --no-floppy --label --set=root root\nconfigfile /boot/grub/grub.cfg\n' > "$work/esp.cfg"
mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/debian ::/EFI/ubuntu
for place in debian ubuntu; do mcopy -i "$esp" "$work/esp.cfg" "::/EFI/$place/grub.cfg"; done
mcopy -i "$esp" "$(ls "$work"/pkg/usr/lib/shim/shimx64.efi.signed* | head -n1)" ::/EFI/BOOT/BOOTX64.EFI
mcopy -i "$esp" "$work/pkg/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" ::/EFI/BOOT/grubx64.efi
dd if="$esp" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none

truncate -s $((DISK_MIB - 1 - ESP_MIB))M "$rootfs"
# GRUB 2.06 does not know these two.
mkfs.ext4 -q -F -L root -m 1 -O ^metadata_csum_seed,^orphan_file -d "$root" "$rootfs"
dd if="$rootfs" of="$disk" bs=1M seek=$((1 + ESP_MIB)) conv=notrunc,sparse status=none
install_grub "$disk" "$work/pkg" "$work" '(hd0,msdos2)' /boot/grub "biosdisk part_msdos ext2 normal linux configfile"
qemu-img convert -q -f raw -O qcow2 -c "$disk" "$work/out.qcow2"
mv "$work/out.qcow2" "$out"
