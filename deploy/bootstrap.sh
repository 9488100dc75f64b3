# Shared by ./quickstart and ./test: installs what is missing, and only that. Sourced, not run.
# Sets PYTHON to the interpreter of the project's own virtual environment.

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

say() {
    printf '%s\n' "$*"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Prints the python3 to build the environment from: at least 3.11, able to make environments.
find_python() {
    for candidate in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        found=$(command -v "$candidate" 2>/dev/null) || continue
        if "$found" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$found"
            return 0
        fi
    done
    return 1
}

need_distribution() {
    [ "$(uname -s)" = Linux ] || fail "this needs Linux with apt (Debian 12 or 13); this machine runs $(uname -s)"
    [ "$(uname -m)" = x86_64 ] || fail "the lab's guests are x86_64; this machine is $(uname -m)"
    [ -r /etc/os-release ] || fail "/etc/os-release is missing, so the distribution is unknown; Debian 12 or 13 is needed"
    . /etc/os-release
    case "${ID:-}:${VERSION_ID:-}" in
        debian:12 | debian:13) ;;
        ubuntu:24.04) say "Ubuntu 24.04 is meant to work and has not been tested." ;;
        *) fail "this is ${PRETTY_NAME:-an unknown system}; Debian 12 or 13 is needed (Ubuntu 24.04 may work)" ;;
    esac
    command -v apt-get >/dev/null || fail "apt-get is missing, so nothing can be installed"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || fail "root is needed: run this as root or install sudo"
}

# QEMU below 9 corrupts emulated guests that are migrated while busy; Debian 12 has a good one in backports.
add_backports() {
    list=/etc/apt/sources.list.d/hpgreedy-backports.list
    grep -rqs -- "-backports" /etc/apt/sources.list /etc/apt/sources.list.d && return 0
    archive=$(grep -rhsE '^(deb |URIs:)' /etc/apt/sources.list /etc/apt/sources.list.d |
        sed -E 's/^deb +(\[[^]]*\] +)?//; s/^URIs: *//' | awk '{print $1}' |
        grep -E '/debian/?$' | head -n 1)
    [ -n "$archive" ] || fail "no Debian archive was found in apt's sources, so QEMU 10 from backports cannot be installed"
    say "  adding Debian 12's backports to apt's sources ($list), for QEMU 10"
    echo "deb $archive bookworm-backports main" | as_root tee "$list" >/dev/null
}

qemu_major() {
    qemu-system-x86_64 --version 2>/dev/null | sed -nE 's/.*version ([0-9]+)\..*/\1/p' | head -n 1
}

installed() {
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

apt_updated=no
apt_install() {
    if [ "$apt_updated" = no ]; then
        say "  updating apt's package lists"
        as_root apt-get update -qq >"$LOG" 2>&1 || fail "apt-get update failed; see $LOG"
        apt_updated=yes
    fi
    say "  installing $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$LOG" 2>&1 ||
        fail "apt-get install failed; see $LOG"
}

# Packages of the live parts: libvirt, QEMU and what the lab builds with.
install_system() {
    need_distribution
    missing=""
    for package in libvirt-daemon-system libvirt-clients libvirt-dev pkg-config gcc iproute2 nftables \
        busybox-static dpkg-dev python3 python3-venv python3-dev; do
        installed "$package" || missing="$missing $package"
    done
    suite=""
    major=$(qemu_major)
    if [ "${major:-0}" -lt 9 ]; then
        . /etc/os-release
        if [ "${ID:-}:${VERSION_ID:-}" = debian:12 ]; then
            add_backports
            suite="-t bookworm-backports"
        fi
    fi
    # shellcheck disable=SC2086  # a list of package names
    [ -z "$missing" ] || apt_install $missing
    # Debian 12 has the lock manager in libvirt-daemon itself, later ones in packages of its own.
    if [ ! -x /usr/sbin/virtlockd ] || ! ls /usr/lib/*/libvirt/lock-driver/lockd.so >/dev/null 2>&1; then
        apt_install libvirt-daemon-lock libvirt-daemon-plugin-lockd
    fi
    # shellcheck disable=SC2086
    [ "${major:-0}" -ge 9 ] || apt_install $suite qemu-system-x86 qemu-utils
    major=$(qemu_major)
    [ "${major:-0}" -ge 9 ] || fail "QEMU ${major:-is missing}: at least 9 is needed, older ones corrupt emulated guests that migrate"
}

# A virtual environment with the given requirement files; made anew when they or the interpreter change.
install_python() {
    base=$(find_python) || {
        need_distribution
        apt_install python3 python3-venv
        base=$(find_python) || fail "Python 3.11 or newer with venv is needed and was not found"
    }
    wanted=$({ "$base" --version && cd requirements && cat "$@"; } | sha256sum | cut -d' ' -f1)
    if [ "$(cat "$VENV/.installed" 2>/dev/null)" != "$wanted" ] || ! "$VENV/bin/python" -c '' 2>/dev/null; then
        say "  making the Python environment $(basename "$VENV")"
        rm -rf "$VENV"
        "$base" -m venv "$VENV" >"$LOG" 2>&1 || fail "the Python environment could not be made; see $LOG"
        files=""
        for file in "$@"; do files="$files -r requirements/$file"; done
        # shellcheck disable=SC2086
        "$VENV/bin/pip" install -q --disable-pip-version-check $files >"$LOG" 2>&1 ||
            fail "the Python packages could not be installed; see $LOG"
        echo "$wanted" >"$VENV/.installed"
    fi
    PYTHON=$VENV/bin/python
}
