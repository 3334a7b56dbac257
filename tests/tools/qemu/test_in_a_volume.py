"""A disk image that lives in a mirrored volume: a guest boots from the volume itself."""

from __future__ import annotations

import hashlib

import pytest

from support.machine import run
from support.volume import twinfs_command


@pytest.mark.deadline(240)
def test_what_a_guest_writes_is_on_both_legs_and_the_image_shows_it(machines, new_volume):
    volume = new_volume("sync").init().mount_it()
    disk = volume.mount / "disk.img"
    machines.qemu("create", disk, "64M")
    console = machines.boot("box", disk)
    console.run("mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt && echo kept > /mnt/letter")
    console.run("dd if=/dev/urandom of=/mnt/noise bs=1M count=8 2>&1")
    digest = console.run("sha256sum < /mnt/noise").split()[0]
    console.run("umount /mnt")
    machines.qemu("stop", "box")
    volume.assert_legs_equal()
    for leg in (volume.primary, volume.secondary):
        image = leg / "disk.img"
        assert "letter" in run(*twinfs_command(), "image", "ls", image, "/p0").stdout
        out = machines.base / f"out-{leg.name}"
        out.mkdir()
        run(*twinfs_command(), "image", "extract", image, "/p0/noise", out)
        assert hashlib.sha256((out / "noise").read_bytes()).hexdigest() == digest
