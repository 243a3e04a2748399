#!/bin/bash
# Build Guesthouse Tiny Linux: a 20 MB image that boots in seconds even without hardware acceleration.
#
#   tiny.sh OUT CACHE       OUT: the qcow2 file to write; CACHE: a directory for downloaded packages
#
# The distribution's own cloud kernel, busybox, dropbear and guest agent, with the files of tiny/ on top. Boots through
# BIOS, UEFI and UEFI with Secure Boot: MBR, p1 FAT (the EFI system partition) with GRUB, kernel and initrd, p2 ext4,
# the root, which grows to the disk's size at boot. x86_64 only.
#
# Needs apt with working sources, dpkg-deb, cpio, lz4, mtools, dosfstools, fdisk, e2fsprogs, kmod, qemu-utils. Needs
# neither root nor loop devices.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export SOURCE_DATE_EPOCH=1700000000 E2FSPROGS_FAKE_TIME=1700000000 MTOOLS_SKIP_CHECK=1
ESP_MIB=44 ROOT_MIB=40
here=$(dirname "$(readlink -f "$0")")
out=$(readlink -f "$1") cache=$(readlink -f "$2")
. "$here/packages.sh"

[ "$(dpkg --print-architecture)" = amd64 ] || die "the tiny image is for amd64 only"
need_commands apt-cache apt-get dpkg-deb cpio lz4 mcopy mkfs.vfat sfdisk mkfs.ext4 debugfs depmod modprobe qemu-img
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pkg=$work/pkg root=$work/root initrd=$work/initrd

# --- packages ---------------------------------------------------------------------------------------------------
programs="dropbear-bin qemu-guest-agent lua5.4 lua-yaml e2fsprogs"
# shellcheck disable=SC2046,SC2086  # lists of package names
fetch_packages "$cache" $(kernel_packages) busybox-static grub-pc-bin grub-common grub-efi-amd64-signed shim-signed \
  $programs $(library_packages $programs grub-common)
unpack_packages "$cache" "$pkg"
[ -d "$pkg/lib/modules" ] || { mkdir -p "$pkg/lib" && ln -s ../usr/lib/modules "$pkg/lib/modules"; }
version=$(ls "$pkg/lib/modules")

# --- programs and the shared libraries they load ----------------------------------------------------------------
first() { for f in "$@"; do [ ! -e "$pkg/$f" ] || { echo "$pkg/$f"; return; }; done; die "no package holds $1"; }
busybox=$(first bin/busybox usr/bin/busybox)
loader=$(first usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 lib/x86_64-linux-gnu/ld-linux-x86-64.so.2)
libraries=$pkg/lib/x86_64-linux-gnu:$pkg/usr/lib/x86_64-linux-gnu
mkdir -p "$root"/{bin,sbin,dev,proc,sys,run,tmp,root,mnt,var/log,var/lib,etc/dropbear,usr/bin,usr/sbin,lib64} \
  "$root"/lib/x86_64-linux-gnu "$root"/usr/lib/x86_64-linux-gnu/lua "$root"/usr/share/lua
install_busybox() { # DIRECTORY: busybox under all its names
  install -D "$busybox" "$1/bin/busybox"
  "$busybox" --list | while read -r name; do [ "$name" = busybox ] || ln -s busybox "$1/bin/$name"; done
}
install_busybox "$root"
for name in getty login mkpasswd switch_root findfs udhcpc acpid od blockdev; do
  [ -e "$root/bin/$name" ] || die "this distribution's busybox-static has no $name"
done
for name in init reboot poweroff halt getty; do ln -s ../bin/busybox "$root/sbin/$name"; done
cp "$(first usr/sbin/dropbear)" "$(first usr/sbin/qemu-ga)" "$(first sbin/resize2fs usr/sbin/resize2fs)" "$root/usr/sbin/"
cp "$(first usr/bin/dropbearkey)" "$root/usr/bin/"
cp "$(first usr/bin/lua5.4)" "$root/usr/bin/lua"
cp -rL "$pkg/usr/share/lua/5.4" "$root/usr/share/lua/5.4"
cp -rL "$pkg/usr/lib/x86_64-linux-gnu/lua/5.4" "$root/usr/lib/x86_64-linux-gnu/lua/5.4"
cp -L "$loader" "$root/lib64/ld-linux-x86-64.so.2"
for program in "$root"/usr/sbin/{dropbear,qemu-ga,resize2fs} "$root"/usr/bin/{dropbearkey,lua} \
  "$root"/usr/lib/x86_64-linux-gnu/lua/5.4/*.so; do
  "$loader" --library-path "$libraries" --list "$program" || die "$program: a shared library is missing"
done | awk '$3 ~ /^\//{print $3}' | sort -u | while read -r file; do cp -L "$file" "$root/lib/x86_64-linux-gnu/"; done

# --- kernel modules: what a guest may find as hardware, with what that depends on -------------------------------
depmod -b "$pkg" "$version"
install_modules() { # DIRECTORY MODULE...
  local to=$1 file target
  shift
  mkdir -p "$to/lib/modules/$version"
  for module in "$@"; do
    modprobe -d "$pkg" -S "$version" --show-depends "$module" 2>/dev/null || :   # this kernel may lack one
  done | awk '/^insmod/{print $2}' | sort -u | while read -r file; do
    target=$to/lib/modules/$version/${file##*"/lib/modules/$version/"}
    mkdir -p "${target%/*}"
    case $file in                                # busybox loads plain modules only
      *.zst) zstd -q -d -c "$file" > "${target%.zst}" ;;
      *.xz) xz -d -c "$file" > "${target%.xz}" ;;
      *) cp "$file" "$target" ;;
    esac
  done
  cp "$pkg/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$to/lib/modules/$version/"
  depmod -b "$to" "$version"
  rm -f "$to/lib/modules/$version"/modules.{symbols,builtin.modinfo}*
}
disks="virtio_pci virtio_blk virtio_scsi sd_mod ata_piix ahci ext4 crc32c_generic"
# shellcheck disable=SC2086
install_modules "$initrd" $disks
# shellcheck disable=SC2086
install_modules "$root" $disks virtio_net e1000 e1000e virtio_console virtio_balloon virtio_rng virtio_mem sr_mod isofs \
  vfat nls_cp437 nls_ascii nls_utf8 button evdev pvpanic-mmio pvpanic-pci i6300esb af_packet

# --- our own files ----------------------------------------------------------------------------------------------
cp -r "$here/tiny/root/." "$root/"
sed -i "s/@KERNEL@/$version/" "$root/etc/os-release"
chmod 0600 "$root/etc/shadow"                        # no password has root's hash; busybox's login dies of a plain "*"
chmod 0700 "$root/root"
chmod 1777 "$root/tmp"
install -D -m 0755 "$here/tiny/initrd/init" "$initrd/init"
install_busybox "$initrd"
mkdir -p "$initrd"/{dev,proc,sys,new}
find "$root" "$initrd" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$initrd" && find . | sort | cpio -o -H newc -R 0:0 --reproducible --quiet) | lz4 -q -l -9 > "$work/initrd.lz4"

# --- partitions -------------------------------------------------------------------------------------------------
cp "$(first "boot/vmlinuz-$version")" "$work/vmlinuz"
cat > "$work/grub.cfg" <<CONFIG
set timeout=0
linux /vmlinuz console=tty1 console=ttyS0,115200 quiet loglevel=4 mitigations=off audit=0 apparmor=0 tsc=reliable \
no_timer_check random.trust_cpu=on
initrd /initrd
boot
CONFIG
touch -d "@$SOURCE_DATE_EPOCH" "$work"/{vmlinuz,initrd.lz4,grub.cfg}
esp=$work/esp.img
truncate -s ${ESP_MIB}M "$esp"
# Large clusters: GRUB reads the kernel in half the time.
mkfs.vfat --invariant -F 16 -s 16 -n EFI "$esp" >/dev/null
mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/debian ::/EFI/ubuntu ::/grub
mcopy -m -i "$esp" "$work/vmlinuz" ::/vmlinuz
mcopy -m -i "$esp" "$work/initrd.lz4" ::/initrd
for place in grub EFI/debian EFI/ubuntu; do mcopy -m -i "$esp" "$work/grub.cfg" "::/$place/grub.cfg"; done
mcopy -m -i "$esp" "$(ls "$pkg"/usr/lib/shim/shimx64.efi.signed* | head -n1)" ::/EFI/BOOT/BOOTX64.EFI
mcopy -m -i "$esp" "$(first usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed)" ::/EFI/BOOT/grubx64.efi

rootfs=$work/root.img
truncate -s ${ROOT_MIB}M "$rootfs"
mkfs.ext4 -q -F -L tiny-root -b 4096 -J size=4 -m 1 -U 6775e570-0000-4000-8000-746974696e79 \
  -E hash_seed=6775e570-0000-4000-8000-746974696e79,resize=268435456,root_owner=0:0 -d "$root" "$rootfs"
if [ "$(id -u)" != 0 ]; then                       # mkfs copied our own uid along with the files
  (cd "$root" && find . -mindepth 1 -printf 'sif "/%P" uid 0\nsif "/%P" gid 0\n') | debugfs -w -f - "$rootfs" >/dev/null 2>&1
fi

disk=$work/disk.raw
truncate -s $((1 + ESP_MIB + ROOT_MIB + 1))M "$disk"
sfdisk -q "$disk" <<TABLE
label: dos
label-id: 0x67756573
start=2048, size=$((ESP_MIB * 2048)), type=ef, bootable
start=$(((1 + ESP_MIB) * 2048)), size=$((ROOT_MIB * 2048)), type=83
TABLE
dd if="$esp" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$rootfs" of="$disk" bs=1M seek=$((1 + ESP_MIB)) conv=notrunc,sparse status=none
install_grub "$disk" "$pkg" "$work" '(hd0,msdos1)' /grub "biosdisk part_msdos fat normal linux configfile"
qemu-img convert -q -f raw -O qcow2 -c "$disk" "$work/out.qcow2"
mv "$work/out.qcow2" "$out"
