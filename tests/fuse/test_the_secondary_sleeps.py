"""A disk that may spin down: its own counters stand still while the volume is in use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.disks import Disk, forget_pages
from support.machine import needs_root, run
from support.volume import Volume, wait_until

pytestmark = [needs_root, pytest.mark.deadline(180)]

_LONGER_THAN_BETWEEN_TWO_LOOKS_SECONDS = 11
_AT_REST_SECONDS = 2.0


def counters(disk: Disk) -> str:
    """Of all its requests, see Documentation/block/stat.rst in the kernel's source."""
    assert disk.device is not None
    return Path(f"/sys/block/{Path(disk.device).name}/stat").read_text()


def wait_until_at_rest(disk: Disk) -> None:
    """A file system goes on for some seconds with what it was given."""
    run("sync", "-f", disk.path)
    seen = [counters(disk), time.monotonic()]

    def is_at_rest() -> bool:
        now = counters(disk)
        if now != seen[0]:
            seen[:] = [now, time.monotonic()]
        return time.monotonic() - float(seen[1]) > _AT_REST_SECONDS

    wait_until(is_at_rest, 60, "the disk does not come to rest")


def use(volume: Volume) -> None:
    mount = volume.mount
    (mount / "new").write_bytes(os.urandom(1 << 20))
    fd = os.open(mount / "new", os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    forget_pages(mount / "old")
    forget_pages(volume.primary / "old")
    assert len((mount / "old").read_bytes()) == 1 << 20
    os.truncate(mount / "new", 10)
    os.rename(mount / "new", mount / "newer")
    os.statvfs(mount)
    (mount / "d").mkdir(exist_ok=True)
    (mount / ".twinfs/status").read_text()
    assert volume.status()["legs"][1]["total_bytes"] > 0
    list(mount.iterdir())


def forget_what_is_looked_at(disk: Disk) -> None:
    """So that looking would be seen: what is in memory costs no request."""
    forget_pages(disk.path / "leg/.twinfs/label.json")
    forget_pages(disk.path / "leg/old")


def make(new_disk: Callable[..., Disk], new_volume: Callable[..., Volume]) -> tuple[Disk, Volume]:
    disk = new_disk("disk", "ext4", 64 << 20, more_words=("-E", "lazy_itable_init=0"))
    (disk.path / "leg").mkdir()
    volume = new_volume("batched", legs=(disk.path.parent / "primary", disk.path / "leg"), interval="1h")
    volume.init()
    return disk, volume


def test_its_counters_stand_still_until_the_next_batch(
    new_disk: Callable[..., Disk], new_volume: Callable[..., Volume]
) -> None:
    disk, volume = make(new_disk, new_volume)
    volume.configure("secondary_sleeps = true", 'read_policy = "stripe"')
    volume.mount_it()
    (volume.mount / "old").write_bytes(os.urandom(1 << 20))
    volume.sync()
    forget_what_is_looked_at(disk)
    wait_until_at_rest(disk)
    before = counters(disk)
    deadline = time.monotonic() + _LONGER_THAN_BETWEEN_TWO_LOOKS_SECONDS
    while time.monotonic() < deadline:
        use(volume)
        time.sleep(0.5)
    assert counters(disk) == before
    assert not (disk.path / "leg/newer").exists()
    volume.sync()
    assert counters(disk) != before
    volume.assert_legs_equal()


def test_a_disk_that_may_not_sleep_is_looked_at(
    new_disk: Callable[..., Disk], new_volume: Callable[..., Volume]
) -> None:
    """Or the test above would prove nothing."""
    disk, volume = make(new_disk, new_volume)
    volume.mount_it()
    (volume.mount / "old").write_bytes(os.urandom(1 << 20))
    volume.sync()
    forget_what_is_looked_at(disk)
    wait_until_at_rest(disk)
    before = counters(disk)
    wait_until(lambda: counters(disk) != before, 60, "nobody looks whether the disk is still there")
