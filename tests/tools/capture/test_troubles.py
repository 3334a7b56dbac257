"""Devices that go away, disks that are full, sources that change their size."""

from __future__ import annotations

import errno
import os
import time

import pytest

from support.failing_disk import Plan
from support.machine import needs_root
from tools.capture.conftest import capture_disk, noise, start_capture
from tools.capture.test_resume import wait_for_progress
from twinfs.images.rescue_map import Status, parse

MIB = 1 << 20


@pytest.mark.parametrize("code", [errno.ENXIO, errno.ENOMEDIUM, errno.ENODEV])
def test_a_device_that_is_gone_ends_it_and_is_no_bad_sector(failing, workspace, code):
    disk = failing(noise(4 * MIB), Plan([(2 * MIB, 4 * MIB)], error=code))
    found = capture_disk(disk.path, workspace / "out.img")
    assert found.code == 1
    assert os.strerror(code) in found.errors
    assert "no bad sector" in found.errors
    known = parse((workspace / "out.img.map").read_text())
    assert known.total_bytes(Status.FINISHED) == 2 * MIB
    assert known.total_bytes(Status.NON_TRIED) == 2 * MIB
    disk.change(Plan())
    assert capture_disk(disk.path, workspace / "out.img", "--resume").code == 0
    assert (workspace / "out.img").read_bytes() == disk.content


@pytest.mark.parametrize("code", [errno.EIO, errno.ENODATA, errno.EILSEQ, errno.ETIMEDOUT])
def test_what_the_kernel_says_of_bad_sectors_is_taken_for_that(failing, workspace, code):
    disk = failing(noise(MIB), Plan([(512, 1024)], error=code))
    assert capture_disk(disk.path, workspace / "out.img").unread == [(512, 512)]


@needs_root
def test_a_full_disk_is_waited_out_until_there_is_room(failing, workspace, new_disk):
    small = new_disk("small")
    ballast = small.path / "ballast"
    ballast.write_bytes(bytes(range(256)) * 4096 * 20)
    disk = failing(noise(12 * MIB), Plan())
    image = small.path / "out.img"
    process = start_capture(disk.path, image, "--hash", "sha256")
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "no room for" in said
    assert "make room" in said
    time.sleep(0.3)
    assert process.poll() is None
    ballast.unlink()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "going on" in errors
    assert image.read_bytes() == disk.content


@needs_root
def test_on_a_full_disk_it_can_be_ended_and_gone_on_with_later(failing, workspace, new_disk):
    small = new_disk("small")
    ballast = small.path / "ballast"
    ballast.write_bytes(bytes(range(256)) * 4096 * 20)
    disk = failing(noise(12 * MIB), Plan())
    image = small.path / "out.img"
    found = capture_disk(disk.path, image, "--no-wait", "--map", workspace / "map")
    assert found.code == 1
    assert "no room for" in found.errors
    assert "--resume" in found.errors
    ballast.unlink()
    assert capture_disk(disk.path, image, "--resume", "--map", workspace / "map").code == 0
    assert image.read_bytes() == disk.content


def test_a_source_that_shrinks_ends_it_and_can_be_gone_on_with(failing, workspace):
    disk = failing(noise(8 * MIB), Plan(read_seconds=0.01))
    process = start_capture(disk.path, workspace / "out.img", "--map-interval", "0.02")
    wait_for_progress(workspace / "out.img.map", MIB)
    disk.change(Plan(size_bytes=3 * MIB + 100))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "though it had 8388608 bytes when the capture began" in errors
    assert "--resume" in errors
    shrunk = capture_disk(disk.path, workspace / "out.img", "--resume")
    assert shrunk.code == 2
    disk.change(Plan())
    assert capture_disk(disk.path, workspace / "out.img", "--resume").code == 0
    assert (workspace / "out.img").read_bytes() == disk.content


def test_a_source_that_grows_is_captured_at_its_first_size_and_the_rest_on_resume(failing, workspace):
    disk = failing(noise(8 * MIB), Plan(size_bytes=4 * MIB, read_seconds=0.01))
    process = start_capture(disk.path, workspace / "out.img", "--map-interval", "0.02")
    wait_for_progress(workspace / "out.img.map", MIB)
    disk.change(Plan())
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "has grown by 4.0 MiB" in errors
    assert (workspace / "out.img").read_bytes() == disk.content[: 4 * MIB]
    found = capture_disk(disk.path, workspace / "out.img", "--resume")
    assert found.summary["taken_bytes"] == 4 * MIB
    assert (workspace / "out.img").read_bytes() == disk.content


def test_a_truncated_source_has_the_size_that_it_has(workspace):
    (workspace / "source").write_bytes(noise(MIB + 3))
    assert capture_disk(workspace / "source", workspace / "out.img").summary["size_bytes"] == MIB + 3
    (workspace / "empty").touch()
    assert capture_disk(workspace / "empty", workspace / "empty.img", "--hash", "sha256").code == 0
    assert (workspace / "empty.img").read_bytes() == b""


@needs_root
def test_a_file_system_that_cannot_hold_so_large_a_file_is_named(workspace, new_disk):
    with open(workspace / "source", "wb") as source:
        source.truncate(5 << 40)
    small = new_disk("small", size_bytes=32 * MIB)
    found = capture_disk(workspace / "source", small.path / "out.img")
    assert found.code == 1
    assert "cannot hold a file so large" in found.errors
