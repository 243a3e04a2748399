# Sourced by the commands in bin/: what must exist before Python can take over.
# Every step looks first and changes nothing that is already so.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VENV=$ROOT/.venv
STAMP=$VENV/.synced
INSTALL=${INSTALL:-yes}
readonly EXIT_MISSING=3

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# Use our own interpreter's settings only: neither the caller's PYTHONPATH nor an active environment may leak in. Without
# bytecode every process would compile its libraries anew: seconds at each start, and memory that it never gives back.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

# --- operating system packages ------------------------------------------------------------------------------------

packages_installed() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p'; }
packages_known() { apt-cache policy "$@" 2>/dev/null | awk '/^[^ ]/ { sub(":$", ""); name = $0 } /^  Candidate: [^(]/ { print name }'; }

# wanted_packages GROUP…: the entries of these groups, as written in bin/lib/packages
wanted_packages() {
    awk -v groups=" $* " '$1 !~ /^#/ && NF && index(groups, " " $1 " ") { print $2 }' "$ROOT/bin/lib/packages"
}

# any_of A|B|C LIST: print the first alternative that stands in LIST, one name a line
any_of() {
    local name
    for name in ${1//|/ }; do
        if grep -qx -- "$name" <<<"$2"; then echo "$name"; return 0; fi
    done
    return 1
}

# missing_packages GROUP…: print the names to install; an optional one only where apt knows it already
missing_packages() {
    local entry installed known missing=()
    installed=$(packages_installed)
    for entry in $(wanted_packages "$@"); do
        any_of "${entry#\?}" "$installed" >/dev/null || missing+=("$entry")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    known=$(packages_known $(printf '%s\n' "${missing[@]}" | tr '?|' '  '))
    for entry in "${missing[@]}"; do
        any_of "${entry#\?}" "$known" || [ "${entry:0:1}" = "?" ] || echo "${entry%%|*}"
    done
}

# packages_state GROUP…: all that missing_packages can depend on, as one sum; apt itself takes a second to answer
packages_state() {
    { wanted_packages "$@"; packages_installed; stat -c %Y /var/lib/apt/lists; } 2>/dev/null | sha256sum | cut -d' ' -f1
}

# ensure_packages GROUP…: install what is missing; with --no-install say what and exit 3
ensure_packages() {
    command -v dpkg-query >/dev/null || die "only Debian and Ubuntu are supported (dpkg-query is missing)"
    local names state stamp=$VENV/.packages
    state=$(packages_state "$@")
    if [ -f "$stamp" ] && grep -qx -- "$state" "$stamp"; then return 0; fi
    names=$(missing_packages "$@")
    if [ -z "$names" ]; then
        if [ -d "$VENV" ]; then echo "$state" >"$stamp"; fi
        return 0
    fi
    if [ "$INSTALL" != yes ]; then
        say "These packages are missing:" $names
        say "Install them with: apt-get install --no-install-recommends" $names
        exit "$EXIT_MISSING"
    fi
    apt_get update || die "apt-get update failed"
    names=$(missing_packages "$@")
    say "Installing packages:" $names
    apt_get install --no-install-recommends $names || die "apt-get could not install:" $names
    retire_services $names
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -y -q \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$@" </dev/null >&2
}

# Servers we installed for their programs alone; the ones the packages started would only hold ports and memory.
retire_services() {
    [ -d /run/systemd/system ] || return 0
    local name
    for name in "$@"; do
        case $name in
            redis-server|valkey-server|postgresql) systemctl disable --now "$name" >&2 || say "could not stop $name" ;;
        esac
    done
}

# --- Python -----------------------------------------------------------------------------------------------------

is_good_python() { "$1" -c 'import sys, ensurepip; sys.exit(not (3, 12) <= sys.version_info < (3, 15))' >/dev/null 2>&1; }
has_headers() { "$1" -c 'import sysconfig, os; os.stat(sysconfig.get_path("include") + "/Python.h")' >/dev/null 2>&1; }

# find_python: print the first interpreter that runs and is new enough. Shims of version managers may exist and not run.
find_python() {
    local candidate path
    for candidate in python3.13 python3.14 python3.12 python3 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[42]*/bin/python3; do
        path=$(command -v "$candidate") || continue
        is_good_python "$path" || continue
        "$path" -c 'import sys; print(sys.executable)'
        return 0
    done
    return 1
}

lock_sum() { sha256sum <"$ROOT/$1" | cut -d' ' -f1; }
is_synced() { [ -x "$VENV/bin/python" ] && [ -f "$STAMP" ] && grep -q "^$(lock_sum "$1")\$" "$STAMP"; }

# ensure_environment LOCK…: .venv holds exactly the first lock's packages, by hash. The other locks named are subsets of it.
ensure_environment() {
    is_synced "$1" && return 0
    say "Preparing the Python environment from $1"
    local python uv=$VENV/bootstrap/bin/uv interpreter=()
    ensure_packages build
    if ! python=$(find_python); then
        ensure_packages python
        python=$(find_python) || python=
    fi
    if [ -n "$python" ]; then
        has_headers "$python" || ensure_packages python
        has_headers "$python" || die "the headers of $python are missing (Python.h)"
        interpreter=(--python "$python")
    else
        say "No Python between 3.12 and 3.14 here; letting uv fetch one"
        python=$(command -v python3)
        interpreter=(--python "$(cat "$ROOT/.python-version")")
    fi
    rm -f "$STAMP"
    if ! [ -x "$uv" ] || ! "$uv" --version >/dev/null 2>&1; then
        rm -rf "$VENV/bootstrap"
        "$python" -m venv "$VENV/bootstrap" >&2 || die "$python could not make an environment"
        "$VENV/bootstrap/bin/pip" install --quiet --disable-pip-version-check uv >&2 || die "pip could not install uv"
    fi
    if ! "$VENV/bin/python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 15))' 2>/dev/null; then
        "$uv" venv --quiet --allow-existing "${interpreter[@]}" "$VENV" >&2 \
            || die "no Python 3.12, 3.13 or 3.14 was found and none could be fetched; install one and run again"
    fi
    "$uv" pip sync --quiet --compile-bytecode --python "$VENV/bin/python" "$ROOT/$1" >&2 || die "the packages of $1 could not be installed"
    local lock
    for lock in "$@"; do lock_sum "$lock"; done >"$STAMP"
}

# ensure_focus: .venv/focus holds the validator of FOCUS and what it needs, by hash; safe to call at once by several
ensure_focus() {
    local at=$VENV/focus lock=requirements-focus.lock uv=$VENV/bootstrap/bin/uv
    (
        flock 9
        [ -f "$at/.synced" ] && grep -qx -- "$(lock_sum "$lock")" "$at/.synced" && exit 0
        "$uv" venv --quiet --allow-existing --python "$VENV/bin/python" "$at" >&2 || exit 1
        "$uv" pip sync --quiet --compile-bytecode --python "$at/bin/python" "$ROOT/$lock" >&2 || exit 1
        lock_sum "$lock" >"$at/.synced"
    ) 9>"$VENV/.focus" || die "the packages of requirements-focus.lock could not be installed"
}

# --- the front end's packages -----------------------------------------------------------------------------------

ensure_assets() {
    command -v npm >/dev/null || ensure_packages npm
    "$VENV/bin/python" "$ROOT/bin/assets" >&2 || die "the front end's packages could not be prepared (bin/assets)"
}

# launcher MODULE ARGS…: hand over to bin/lib/launcher
launcher() {
    local module=$1
    shift
    PYTHONPATH=$ROOT/bin/lib exec "$VENV/bin/python" -m "launcher.$module" "$@"
}
