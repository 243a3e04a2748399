# Distribution packages as raw material for images, without installing any; sourced by the scripts beside it.

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

need_commands() {
  local missing=
  for command in "$@"; do command -v "$command" >/dev/null || missing="$missing $command"; done
  [ -z "$missing" ] || die "commands are missing:$missing"
}

dependencies() { # PACKAGE: the names of what it depends on, one a line
  apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$1" |
    awk '/Depends:/{print $2}'
}

# The distribution's kernel for virtual machines: the image and, where they are packed apart, its modules.
kernel_packages() {
  local meta image
  for meta in linux-image-cloud-amd64 linux-image-virtual linux-image-amd64; do
    image=$(dependencies "$meta" 2>/dev/null | grep -m1 '^linux-image-[0-9]') || continue
    echo "$image"
    dependencies "$image" | grep '^linux-modules-[0-9]' || :
    return
  done
  die "apt knows no kernel: run apt-get update"
}

# Names of shared libraries vary by release (libglib2.0-0, libglib2.0-0t64): whatever the programs depend on, all the way.
library_packages() { # PACKAGE...
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
    grep -E '^lib[a-z0-9.+-]+$' | grep -vE -- '-(dev|doc|data|bin|perl)$' | sort -u |
    xargs apt-cache show --no-all-versions 2>/dev/null | awk '/^Package: /{print $2}' | sort -u
}

# Bring the newest versions of packages into a directory; those that lie there are not fetched again. Sets wanted_files.
fetch_packages() { # CACHE PACKAGE...
  local cache=$1 uri file rest empty
  shift
  empty=$(mktemp -d)                               # apt leaves out what it finds complete where it stands
  mkdir -p "$cache"
  exec 9<"$cache"
  flock 9
  wanted_files=()
  local missing=()
  while read -r uri file rest; do
    wanted_files+=("$file")
    [ -s "$cache/$file" ] || missing+=("${file%%_*}")
  done < <(cd "$empty" && apt-get -qq download --print-uris "$@")
  rmdir "$empty"
  [ "${#wanted_files[@]}" = "$#" ] || die "apt does not know some of these packages: $*; run apt-get update"
  [ "${#missing[@]}" = 0 ] || (cd "$cache" && apt-get -q -o APT::Sandbox::User=root download "${missing[@]}")
  exec 9<&-
}

unpack_packages() { # CACHE DIRECTORY: what fetch_packages was last asked for
  local file
  mkdir -p "$2"
  for file in "${wanted_files[@]}"; do dpkg-deb -x "$1/$file" "$2"; done
}

# GRUB for BIOS without grub-install, root or loop devices: boot.img into the MBR, core.img right after it.
install_grub() { # DISK PACKAGES WORK ROOT PREFIX MODULES
  local modules=$2/usr/lib/grub/i386-pc mkimage=$2/usr/bin/grub-mkimage
  printf 'set root=%s\nset prefix=%s%s\n' "$4" "$4" "$5" > "$3/early.cfg"
  # shellcheck disable=SC2086  # the modules are words
  LD_LIBRARY_PATH=$2/lib/x86_64-linux-gnu:$2/usr/lib/x86_64-linux-gnu \
    "$mkimage" -d "$modules" -O i386-pc -p "$5" -c "$3/early.cfg" -o "$3/core.img" $6 ||
    grub-mkimage -d "$modules" -O i386-pc -p "$5" -c "$3/early.cfg" -o "$3/core.img" $6
  dd if="$modules/boot.img" of="$1" bs=1 count=440 conv=notrunc status=none
  dd if="$3/core.img" of="$1" bs=512 seek=1 conv=notrunc status=none
}
