"""The parts of a disk capture, each alone: buffers, pace, pipeline, progress, what lsblk says."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.capture.conftest import capture
from twinfs_capture import devices, disks
from twinfs_capture.disk import browse
from twinfs_capture.disk.buffers import ALIGN_BYTES, Chunk
from twinfs_capture.disk.pace import CLUSTER_BYTES, BulkPace, SectorPace
from twinfs_capture.disk.pipeline import CHUNK_BYTES, Pipeline
from twinfs_capture.disk.settings import Progress
from twinfs_capture.errors import CaptureError
from twinfs_capture.progress import Rate, progress_line
from twinfs_capture.stop import Stop

MIB = 1 << 20


@given(
    st.lists(st.sampled_from(["zeros", "data", "zero first", "zero last"]), max_size=12), st.integers(0, 4095)
)
def test_runs_of_data_leave_out_the_blocks_of_zeros_and_nothing_else(blocks, tail):
    parts = {
        "zeros": bytes(ALIGN_BYTES),
        "data": b"d" * ALIGN_BYTES,
        "zero first": bytes(ALIGN_BYTES - 1) + b"x",
        "zero last": b"x" + bytes(ALIGN_BYTES - 1),
    }
    content = b"".join(parts[kind] for kind in blocks) + bytes(tail)
    chunk = Chunk(64 * 1024)
    chunk.view[: len(content)] = content
    chunk.view[len(content) : len(content) + 1] = b"beyond"[:1]
    chunk.length = len(content)
    runs = list(chunk.data_runs())
    again = bytearray(len(content))
    for start, end in runs:
        again[start:end] = content[start:end]
        assert 0 <= start < end <= len(content)
        assert content[start:end].strip(b"\0")
    assert again == content
    assert sum(end - start for start, end in runs) == ALIGN_BYTES * sum(kind != "zeros" for kind in blocks)


def test_a_chunk_lies_where_direct_reads_can_go():
    import ctypes

    for _ in range(20):
        assert ctypes.addressof(ctypes.c_char.from_buffer(Chunk(MIB).view)) % ALIGN_BYTES == 0


def test_every_consumer_sees_every_chunk_in_order():
    seen: list[list[tuple[int, bytes]]] = [[], []]
    pipeline = Pipeline(
        [lambda chunk, to=to: to.append((chunk.offset_bytes, bytes(chunk.view[:4]))) for to in seen], Stop()
    )
    for number in range(100):
        chunk = pipeline.borrow()
        chunk.view[:4] = number.to_bytes(4, "big")
        chunk.offset_bytes, chunk.length = number, 4
        pipeline.submit(chunk)
    pipeline.drain()
    expected = [(number, number.to_bytes(4, "big")) for number in range(100)]
    assert seen == [expected, expected]
    pipeline.close()


def test_what_a_consumer_raises_reaches_the_reader_and_blocks_nobody():
    def fail(chunk: Chunk) -> None:
        raise CaptureError("no more")

    pipeline = Pipeline([fail, lambda chunk: None], Stop())
    with pytest.raises(CaptureError, match="no more"):
        for _ in range(100):
            pipeline.submit(pipeline.borrow())
    with pytest.raises(CaptureError, match="no more"):
        pipeline.drain()
    before = threading.active_count()
    pipeline.close()
    assert threading.active_count() == before - 2


def test_skips_double_while_reads_fail_and_end_with_one_that_does_not():
    pace = BulkPace(100 * MIB)
    assert [pace.failed() for _ in range(6)] == [
        CLUSTER_BYTES,
        2 * CLUSTER_BYTES,
        4 * CLUSTER_BYTES,
        8 * CLUSTER_BYTES,
        MIB,
        MIB,
    ]
    assert pace.read_bytes == CLUSTER_BYTES
    assert pace.went_well(MIB, 0.01) == 0
    assert pace.read_bytes == CHUNK_BYTES
    assert pace.failed() == CLUSTER_BYTES


def test_a_read_is_slow_by_the_rate_that_was_usual():
    pace = BulkPace(1 << 40)
    assert pace.went_well(MIB, 2.0) == 0, "nothing is known yet"
    for _ in range(50):
        assert pace.went_well(MIB, 0.01) == 0
    assert pace.went_well(MIB, 2.0) == CLUSTER_BYTES
    assert pace.went_well(MIB, 2.0) == 2 * CLUSTER_BYTES
    assert pace.went_well(MIB, 0.01) == 0


def test_several_sectors_are_read_at_once_where_failing_is_cheap():
    pace = SectorPace(512)
    for _ in range(5):
        pace.took(0.001, failed=False)
        pace.took(0.001, failed=True)
    assert pace.read_bytes == 8 * 512
    for _ in range(5):
        pace.took(1.0, failed=True)
    assert pace.read_bytes == 512


def test_progress_says_how_much_how_fast_how_long_and_what_is_bad():
    rate = Rate()
    assert rate.update(Progress("copying", 0, 100 * MIB, 0, 0, 0), 10.0) == 0
    progress = Progress("copying", 20 * MIB, 100 * MIB, 20 * MIB, 1536, 2)
    assert rate.update(progress, 12.0) == 10 * MIB
    line = progress_line(progress, 10 * MIB)
    assert line == "copying: 20.0 MiB of 100 MiB, 10.0 MiB/s, 8 s left, bad: 1.5 KiB in 2 areas"


LSBLK = {
    "blockdevices": [
        {
            "path": "/dev/sda",
            "type": "disk",
            "size": 500107862016,
            "model": "Samsung SSD",
            "serial": "S1",
            "tran": "sata",
            "rm": False,
            "hotplug": False,
            "ro": False,
            "fstype": None,
            "label": None,
            "uuid": None,
            "mountpoints": [None],
            "children": [],
        },
        {
            "path": "/dev/sdb",
            "type": "disk",
            "size": 8004304896,
            "model": "Flash Disk",
            "serial": "0123",
            "tran": "usb",
            "rm": True,
            "hotplug": True,
            "ro": True,
            "fstype": None,
            "label": None,
            "uuid": None,
            "mountpoints": [None],
            "children": [
                {
                    "path": "/dev/sdb1",
                    "type": "part",
                    "size": 8004276224,
                    "fstype": "vfat",
                    "label": "HOLIDAY",
                    "uuid": "AB-CD",
                    "mountpoints": ["/media/key"],
                }
            ],
        },
        {"path": "/dev/sr0", "type": "rom", "size": 0, "rm": True},
    ]
}


@pytest.fixture
def lsblk(workspace, monkeypatch):
    """A stand-in: this machine has no USB stick."""
    program = workspace / "lsblk"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(LSBLK)}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(workspace), prepend=":")


def test_removable_disks_are_listed_with_what_is_on_them(lsblk):
    assert capture("disks").stdout == (
        "/dev/sdb  7.5 GiB  Flash Disk  usb  0123  read-only\n"
        '  /dev/sdb1  7.5 GiB  vfat  "HOLIDAY"  mounted at /media/key\n'
    )


def test_disks_as_json_name_partitions_and_others_on_request(lsblk):
    [stick] = [json.loads(line) for line in capture("disks", "--json").stdout.splitlines()]
    assert (stick["type"], stick["path"], stick["size_bytes"]) == ("disk", "/dev/sdb", 8004304896)
    assert (stick["is_removable"], stick["is_read_only"]) == (True, True)
    assert stick["partitions"] == [
        {
            "path": "/dev/sdb1",
            "size_bytes": 8004276224,
            "filesystem": "vfat",
            "label": "HOLIDAY",
            "uuid": "AB-CD",
            "mountpoints": ["/media/key"],
        }
    ]
    every = [json.loads(line)["path"] for line in capture("disks", "--all", "--json").stdout.splitlines()]
    assert every == ["/dev/sda", "/dev/sdb"]


def test_this_machines_own_lsblk_is_understood():
    for line in capture("disks", "--all", "--json").stdout.splitlines():
        assert json.loads(line)["size_bytes"] > 0
    with pytest.raises(CaptureError, match="not understood"):
        disks.parse_listing(b'{"blockdevices": [{"path": 5}]}')


def test_mount_points_with_odd_characters_are_read(monkeypatch):
    line = b"36 35 98:0 / /mnt/with\\040space\\011tab rw - ext4 /dev/a\\134b rw\n"
    monkeypatch.setattr(Path, "read_bytes", lambda self: line)
    [mount] = devices.mounts()
    assert (mount.device, mount.mountpoint) == ("98:0", "/mnt/with space\ttab")
    assert (mount.kind, mount.source) == ("ext4", "/dev/a\\b")


def test_an_image_in_a_volume_is_browsed_below_its_own_name(workspace, monkeypatch):
    image = workspace / "keys" / "usb.img"
    tree = workspace / ".twinfs" / "images" / "keys" / "usb.img"
    for directory in (image.parent, tree / "p1", tree / "p2"):
        directory.mkdir(parents=True)
    (tree / "p1.img").touch()
    image.touch()
    assert browse.where_to_browse(image) is None
    volume = devices.Mount("0:50", str(workspace), "fuse.twinfs", "photos")
    monkeypatch.setattr(devices, "mounts", lambda: [volume])
    assert browse.where_to_browse(image) == f"{tree}/p1/"
    (tree / "p1.img").unlink()
    for name in ("p1", "p2"):
        (tree / name).rmdir()
    assert browse.where_to_browse(image) == f"{tree}/"
