"""A full secondary gives up its versions before it refuses anything that people write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from support.disks import Disk
from support.machine import needs_root
from support.volume import Volume

MIB = 1 << 20


@pytest.fixture
def disks(workspace: Path) -> Any:
    found = tuple(Disk(workspace / name, size_bytes=48 * MIB).put_in() for name in ("first", "second"))
    yield found
    for disk in found:
        disk.take_out()


@needs_root
@pytest.mark.parametrize("mode", ["sync", "batched"])
def test_versions_are_given_up_before_user_data_is_refused(
    disks: tuple[Disk, Disk], new_volume: Any, mode: str
) -> None:
    legs = tuple(disk.path / "leg" for disk in disks)
    for leg in legs:
        leg.mkdir()
    volume: Volume = new_volume(mode, legs=legs, interval="1h").init()
    text = volume.config_file.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("keep_versions")]
    volume.config_file.write_text("\n".join(lines) + "\n")
    volume.configure('keep_versions = "30d"', 'keep_versions_size = "90%"')
    volume.mount_it()
    (volume.mount / "old").write_bytes(os.urandom(20 * MIB))
    volume.sync()
    (volume.mount / "old").unlink()
    volume.sync()
    assert list((volume.secondary / ".twinfs/versions").glob("*/0"))
    wanted = os.urandom(30 * MIB)
    (volume.mount / "new").write_bytes(wanted)
    volume.assert_legs_equal()
    assert (volume.secondary / "new").read_bytes() == wanted
    assert not list((volume.secondary / ".twinfs/versions").glob("*/0")), "there was no room for both"
    assert "not_mirrored" not in volume.twinfs("events", volume.name).stdout
    volume.umount()
