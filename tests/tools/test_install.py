"""`make install` and `make uninstall`, on this machine's own system with everything written to memory.

In a mount namespace of its own, chrooted into an overlay: nothing reaches the machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.machine import needs_root, run

ROOT = Path(__file__).resolve().parents[2]

OUTSIDE = """set -eu
mount -t tmpfs -o size=1500m tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for directory in proc sys dev; do mount --rbind "/$directory" "$1/root/$directory"; done
mkdir "$1/root/checkout"
cd "$2"
cp -R Makefile pyproject.toml README.md LICENSE src tools docs "$1/root/checkout"
cat >"$1/root/inside.sh"
chroot "$1/root" /bin/sh /inside.sh
"""

INSIDE = """set -eu
look() {
    find /usr/ /etc /opt /lib/ /sbin/ /srv /home -xdev | sort
}
cd /checkout
mkdir /opt/kept
look >/tmp/before
PREFIX=/opt/kept/clean make install
mv /checkout /elsewhere
cd /tmp
PATH=/opt/kept/clean/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH TWINFS_RUN_DIR=/tmp/run TWINFS_STATE_DIR=/tmp/state TWINFS_SYSLOG=
twinfs-qemu create box.qcow2 32M
twinfs-qemu run box.qcow2 --detach --memory 64M
twinfs-qemu list
twinfs image ls qmp:box
twinfs-qemu stop box --timeout 0
twinfs doctor >/dev/null || true
mount.fuse.twinfs 2>/dev/null || true
test -e /sbin/mount.fuse.twinfs
cd /elsewhere
PREFIX=/opt/kept/clean make install
PREFIX=/opt/kept/clean make uninstall
look >/tmp/after
diff /tmp/before /tmp/after
echo all gone
"""


@needs_root
@pytest.mark.slow
def test_it_works_from_a_new_prefix_without_the_checkout_and_leaves_nothing(tmp_path):
    words = ("unshare", "--mount", "--propagation", "private", "sh", "-c", OUTSIDE, "sh", tmp_path, ROOT)
    done = run(*words, input=INSIDE, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "box  " in done.stdout
    assert "disk.img" in done.stdout
    assert done.stdout.endswith("all gone\n")
