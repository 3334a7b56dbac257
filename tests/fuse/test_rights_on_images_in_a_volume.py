"""`MOUNTPOINT/.twinfs/images/` shows nobody more than the image itself does, and gives nobody rights."""

from __future__ import annotations

import os
import shutil
import stat
import struct
from pathlib import Path
from typing import Any

import pytest

from support.images import tool
from support.machine import in_child, needs_root, outcome, run
from support.volume_images import make_image, put

pytestmark = needs_root


@pytest.fixture
def disk(workspace: Path) -> Path:
    (workspace / "shown").mkdir()
    (workspace / "shown/letter.txt").write_text("dear")
    return make_image(workspace / "disk.img", workspace / "shown")


def refused(path: Path, uid: int, gid: int) -> bool:
    return in_child(lambda: outcome(path.read_text), uid=uid, gid=gid)[0] == "EACCES"


def test_who_may_not_read_the_image_does_not_enter_it(new_volume: Any, disk: Path) -> None:
    volume = new_volume("sync").init().mount_it("-o", "allow_other")
    top = put(volume, disk)
    os.chown(volume.mount / "disk.img", 4001, 4002)
    (volume.mount / "disk.img").chmod(0o640)
    letter = top / "p1/letter.txt"
    assert in_child(letter.read_text, uid=4001, gid=4009) == "dear"
    assert in_child(letter.read_text, uid=4003, gid=4002) == "dear"
    assert refused(letter, 4003, 4003)
    run("setfacl", "-m", "u:4004:r,g::-,g:4005:r", volume.mount / "disk.img")
    assert in_child(letter.read_text, uid=4004, gid=4009) == "dear"
    assert in_child(letter.read_text, uid=4006, gid=4005) == "dear"
    assert refused(letter, 4003, 4002)
    # Nor through a directory that is closed to them.
    closed = put(volume, disk, "closed/disk.img")
    (volume.mount / "closed").chmod(0o700)
    letter = closed / "p1/letter.txt"
    assert refused(letter, 4001, 4002)


def test_an_image_gives_nobody_rights(new_volume: Any, workspace: Path) -> None:
    """Set-id programs, capabilities and devices of an image that some user put there."""
    tree = workspace / "tree"
    tree.mkdir()
    shutil.copy("/bin/true", tree / "setuid")
    os.chmod(tree / "setuid", 0o6755)
    shutil.copy("/bin/true", tree / "capable")
    os.setxattr(tree / "capable", "security.capability", struct.pack("<IIIII", 0x2000001, 1 << 21, 0, 0, 0))
    os.mknod(tree / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    (tree / "secret").write_text("root's")
    (tree / "secret").chmod(0o600)
    volume = new_volume("sync").init().mount_it("-o", "allow_other,suid,dev")
    top = put(volume, make_image(workspace / "evil.img", tree), "evil.img")
    assert stat.S_IMODE((top / "p1/setuid").stat().st_mode) == 0o755
    assert os.listxattr(top / "p1/capable") == []
    assert outcome(os.getxattr, top / "p1/capable", "security.capability")[0] == "ENODATA"
    assert stat.S_ISCHR((top / "p1/zero").stat().st_mode)
    assert outcome(os.open, top / "p1/zero", os.O_RDONLY)[0] in ("ENXIO", "EACCES", "ENODEV")
    letter = top / "p1/secret"
    assert refused(letter, 4001, 4001)


def test_what_an_image_needs_beside_it_must_be_as_readable(new_volume: Any, disk: Path) -> None:
    """A qcow2 names its backing file; the daemon may read more than who put it there."""
    volume = new_volume("sync").init().mount_it("-o", "allow_other")
    put(volume, disk, "d/secret")
    (volume.mount / "d/secret").chmod(0o600)
    qcow2 = volume.base / "evil.qcow2"
    shutil.copyfile(disk, volume.base / "secret")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", "secret", "-F", "raw", qcow2)
    top = put(volume, qcow2, "d/evil.qcow2")
    assert outcome(os.listdir, top)[0] == "EIO"
    os.chown(volume.mount / "d/secret", 4001, 4001)
    (volume.mount / "d/secret").chmod(0o644)
    assert outcome(os.listdir, top)[0] == "EIO"
    os.chown(volume.mount / "d/secret", 0, 0)
    assert (top / "p1/letter.txt").read_text() == "dear"
    # A name that leads elsewhere is not followed.
    top = put(volume, qcow2, "e/evil.qcow2")
    (volume.mount / "e/secret").symlink_to("../d/secret")
    assert outcome(os.listdir, top)[0] == "EIO"
