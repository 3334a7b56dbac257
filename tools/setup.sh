#!/bin/sh
# Sets a Debian or Ubuntu machine up for twinfs, from nothing: packages, a virtual environment, twinfs in it.
#
#   tools/setup.sh run        what twinfs needs to run, from this checkout (.venv/bin/twinfs)
#   tools/setup.sh test       that, and what its tests and linters need
#   tools/setup.sh install    as root: a copy under $PREFIX (default /usr/local), and the mount helpers
#   tools/setup.sh uninstall  takes that copy away; volumes, their settings and their state stay
#
# Safe to repeat: what is there is left alone, and a finished set-up is known by a stamp in .venv.
# Packages come through apt-get as root; an ordinary user is told the command instead.
# PYTHON=/path/to/python3 chooses the Python.
set -eu

cd "$(dirname "$0")/.."
checkout=$(pwd -P)
venv=$checkout/.venv
stamp=$venv/.twinfs-setup
prefix=${PREFIX:-/usr/local}
installed=$prefix/lib/twinfs
manuals="$prefix/share/man/man1/twinfs.1 $prefix/share/man/man1/twinfs-capture.1 $prefix/share/man/man1/twinfs-qemu.1"
units=$prefix/lib/systemd/system
# In $installed: the directories that were not there before.
made_list=.made-directories
helpers="/sbin/mount.fuse.twinfs /sbin/umount.fuse.twinfs"

# pyfuse3 is built from source, hence the compiler, headers and pkg-config.
run_packages="gcc libc6-dev pkg-config libfuse3-dev fuse3"
python_packages="python3 python3-venv python3-dev"
test_packages="acl attr b3sum bindfs btrfs-progs busybox-static coreutils dnsmasq-base e2fsprogs fio gddrescue git
 iproute2 iputils-ping isolinux lvm2 lz4 mount nftables ovmf procps psmisc qemu-efi-aarch64 qemu-system-arm
 qemu-system-x86 qemu-utils rsync seabios sqlite3 syslinux-common systemd tar util-linux xfsprogs xvfb"
image_packages="cryptsetup-bin dosfstools erofs-utils ewf-tools exfat-fuse exfatprogs fdisk genisoimage
 libfsapfs-utils mtools ntfs-3g parted squashfs-tools udfclient udftools xorriso
 xz-utils zstd"

say() { echo "setup: $*" >&2; }
die() { say "$@"; exit 1; }

# True when PYTHON ($1) is new enough, can make a virtual environment and can compile an extension for it.
usable_python() {
    "$1" -c '
import os, sys, sysconfig, ensurepip, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(not (sys.version_info >= (3, 11) and os.path.exists(header)))' 2>/dev/null
}

# The first usable one of $PYTHON and the arguments; nothing when there is none.
find_python() {
    for candidate in ${PYTHON:-} "$@"; do
        if usable_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

missing_of() {
    present=" $(dpkg-query -W -f='${Package}/${db:Status-Status} ' "$@" 2>/dev/null || true)"
    for package in "$@"; do
        case $present in
            *" $package/installed "*) ;;
            *) printf ' %s' "$package" ;;
        esac
    done
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends "$@" >&2 </dev/null
}

install_packages() {
    missing=$(missing_of "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        say "packages are missing, and installing them takes root. Run this, then start again:"
        die "    sudo apt-get update && sudo apt-get install --no-install-recommends$missing"
    fi
    say "installing$missing"
    has_lists=$(find /var/lib/apt/lists -name '*Packages*' 2>/dev/null | head -n 1)
    # shellcheck disable=SC2086 # a list of words
    if [ -z "$has_lists" ] || ! apt_install $missing; then
        # No package lists, or so old that the mirror no longer has the files they name.
        apt-get -q update >&2 </dev/null || say "apt-get update failed; trying with the lists there are"
        apt_install $missing || die "apt-get could not install$missing; its words are above"
    fi
}

# Installs the packages for $1 (run, test or install) where they are missing, and sets $python.
prepare_system() {
    wanted=$run_packages
    pythons="python3 /usr/bin/python3"
    case $1 in
        test) wanted="$wanted $test_packages $image_packages" ;;
        # What mounts at boot should not hang on a Python from somebody's home directory.
        install) pythons="/usr/bin/python3 python3" ;;
    esac
    # shellcheck disable=SC2086 # a list of words
    python=$(find_python $pythons)
    [ -n "$python" ] || wanted="$wanted $python_packages"
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2086 # a list of words
        install_packages $wanted
    else
        say "not a Debian system, so not checked whether it has what these are called there: $wanted"
    fi
    # shellcheck disable=SC2086 # a list of words
    [ -n "$python" ] || python=$(find_python $pythons)
    [ -n "$python" ] || die "twinfs needs Python 3.11 or newer with its headers and venv module." \
        "Debian 12 and Ubuntu 24.04 have it; for one elsewhere: PYTHON=/path/to/python3 make setup"
}

# $1: virtual environment, $2: what to install. Where packages come from is the machine's configuration.
pip_install() {
    "$1/bin/python" -m pip --disable-pip-version-check --quiet install --no-input --upgrade "$2" >&2 \
        || die "pip could not install $2; its words are above"
}

# Another path or Python (first line) takes another environment; another pyproject, another installation.
stamp_for() {
    echo "$checkout $("$python" -c 'import sys; print(sys.base_prefix, *sys.version_info)')"
    cat pyproject.toml setup.py tools/setup.sh src/twinfs/fuse/*.c | cksum
    echo "$1"
}

make_venv() {
    found=$(cat "$stamp" 2>/dev/null || true)
    # What is set up for the tests can run, too.
    if [ -x "$venv/bin/twinfs" ] && { [ "$found" = "$(stamp_for "$1")" ] || [ "$found" = "$(stamp_for test)" ]; }; then
        return
    fi
    if [ "${found%%
*}" != "$(stamp_for "$1" | head -n 1)" ]; then
        say "making .venv with $python"
        rm -rf "$venv"
        "$python" -m venv "$venv" || die "$python could not make a virtual environment in $venv"
    fi
    rm -f "$stamp"
    say "installing twinfs and its libraries into .venv"
    case $1 in
        run) pip_install "$venv" --editable=. ;;
        test) pip_install "$venv" "--editable=.[dev,capture,luks]" ;;
    esac
    stamp_for "$1" >"$stamp"
    say "done"
}

# Like mkdir -p; what it makes goes to $made, for `uninstall` to take away: $prefix may not have been there.
make_directory() {
    missing=$1
    while [ ! -d "$missing" ]; do
        made="$made$missing
"
        missing=$(dirname "$missing")
    done
    mkdir -p "$1"
}

# A copy, not a link into the checkout: what root mounts at boot must not change with the next `git pull`,
# nor be writable by whoever owns the checkout.
install_system() {
    prepare_system install
    say "installing twinfs into $installed"
    sources=$(mktemp -d)
    trap 'rm -rf "$sources"' EXIT
    # setuptools builds in place; its leavings do not belong in the checkout, nor old ones in the copy.
    mkdir "$sources/tools"
    cp -R pyproject.toml setup.py README.md LICENSE src "$sources"
    cp -R tools/capture tools/qemu "$sources/tools"
    rm -rf "$sources"/src/*.egg-info
    made=
    for directory in "$prefix/lib" "$prefix/bin" "$prefix/share/man/man1" "$units"; do
        make_directory "$directory"
    done
    "$python" -m venv "$installed" || die "$python could not make a virtual environment in $installed"
    # Added to what an earlier installation has noted, and kept whatever fails from here on.
    printf '%s' "$made" >>"$installed/$made_list"
    pip_install "$installed" "$sources"
    # Libraries of twinfs-capture that not every machine has a build of; twinfs does not need them.
    (pip_install "$installed" "$sources[capture]") \
        || say "goes on without these: twinfs-capture has no --hash blake3 and captures no screens"
    (pip_install "$installed" "$sources[luks]") || say "goes on without these: twinfs opens no LUKS volumes"
    ln -sf "$installed/bin/twinfs" "$prefix/bin/twinfs"
    ln -sf "$installed/bin/twinfs-capture" "$prefix/bin/twinfs-capture"
    ln -sf "$installed/bin/twinfs-qemu" "$prefix/bin/twinfs-qemu"
    cp docs/man/*.1 "$prefix/share/man/man1"
    # Templates that do nothing until a volume's timer is enabled: `twinfs init --with-systemd`.
    "$installed/bin/python" -m twinfs.daemon.systemd "$units" "$prefix/bin/twinfs"
    # mount(8) and umount(8) look for helpers in /sbin only, and run them with PATH unset.
    for helper in $helpers; do
        ln -sf "$installed/bin/twinfs" "$helper"
    done
    say "installed $prefix/bin/twinfs $prefix/bin/twinfs-capture $prefix/bin/twinfs-qemu $helpers"
}

uninstall_system() {
    # The deepest first; what somebody else has put something into stays.
    made=$(sort -r "$installed/$made_list" 2>/dev/null || true)
    rm -rf "$installed"
    # shellcheck disable=SC2086 # a list of words
    rm -f "$prefix/bin/twinfs" "$prefix/bin/twinfs-capture" "$prefix/bin/twinfs-qemu" $manuals $helpers \
        "$units"/twinfs-scrub@.service "$units"/twinfs-scrub@.timer
    echo "$made" | while read -r directory; do
        [ -z "$directory" ] || rmdir --ignore-fail-on-non-empty "$directory" 2>/dev/null || true
    done
    say "removed $installed $prefix/bin/twinfs $prefix/bin/twinfs-capture $prefix/bin/twinfs-qemu $helpers; settings and state stay"
}

root_only() { [ "$(id -u)" -eq 0 ] || die "this is for the whole machine and takes root: sudo make $1"; }

case ${1:-} in
    run | test)
        prepare_system "$1"
        make_venv "$1"
        # Without it the tests that boot guests fail, and say so; all else can go on.
        [ "$1" != test ] || tools/fetch_guest.sh "$venv/guest" || say "goes on without a kernel for guests"
        ;;
    install)
        root_only install
        install_system
        ;;
    uninstall)
        root_only uninstall
        uninstall_system
        ;;
    *) die "usage: tools/setup.sh run | test | install | uninstall" ;;
esac
