"""Interrupted at any moment and gone on with: the image is whole, and what was good is not read twice."""

from __future__ import annotations

import random
import signal
import time

import pytest

from support.failing_disk import Plan, sectors
from support.machine import finish
from tools.capture.conftest import capture_disk, noise, refusal, start_capture
from twinfs.images.rescue_map import Status, parse

MIB = 1 << 20
KILLS = 20


def test_killed_twenty_times_at_random_it_ends_with_the_whole_image(failing, workspace):
    """Each time the map on disk is whole, and calls nothing finished that is not in the image."""
    bad = sectors(*range(9000, 9040), 20000, 30001)
    disk = failing(noise(24 * MIB), Plan(bad, read_seconds=0.002))
    image, map_path = workspace / "out.img", workspace / "out.img.map"
    generator = random.Random(7)
    killed = 0
    while killed < KILLS:
        process = start_capture(disk.path, image, "--resume", "--map-interval", "0.02", "--hash", "sha256")
        wait_for_reads(disk, process, len(disk.reads()) + generator.randrange(8))
        time.sleep(generator.uniform(0, 0.01))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert process.returncode in (-signal.SIGKILL, 1)
        if process.returncode == 1:
            break
        if map_path.exists():
            for block in parse(map_path.read_text()).blocks(Status.FINISHED):
                written = image.read_bytes()[block.start : block.end]
                assert written == disk.content[block.start : block.end]
    found = capture_disk(disk.path, image, "--resume", "--hash", "sha256")
    assert killed >= KILLS // 2, "too fast to be killed"
    assert image.read_bytes() == disk.expected()
    assert sum(length for _, length in found.unread) == len(bad) * 512


def test_nothing_that_the_map_calls_good_is_read_again(failing, workspace):
    disk = failing(noise(16 * MIB), Plan(read_seconds=0.004))
    image, map_path = workspace / "out.img", workspace / "out.img.map"
    process = start_capture(disk.path, image, "--map-interval", "0.02")
    wait_for_progress(map_path, MIB)
    process.kill()
    process.communicate()
    known = parse(map_path.read_text())
    assert 0 < known.total_bytes(Status.FINISHED) < 16 * MIB
    disk.forget_reads()
    disk.change(Plan())
    found = capture_disk(disk.path, image, "--resume")
    assert found.code == 0
    assert image.read_bytes() == disk.content
    assert found.summary["taken_bytes"] == 16 * MIB - known.total_bytes(Status.FINISHED)
    for offset, length in disk.reads():
        assert not known.is_finished(offset, min(offset + length, offset + 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order_and_says_how_to_go_on(failing, workspace, number):
    disk = failing(noise(16 * MIB), Plan(read_seconds=0.005))
    image, map_path = workspace / "out.img", workspace / "out.img.map"
    process = start_capture(disk.path, image, "--map-interval", "0.05")
    wait_for_progress(map_path, MIB)
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output == ""
    assert "--resume" in errors
    assert "Traceback" not in errors
    for block in parse(map_path.read_text()).blocks(Status.FINISHED):
        assert image.read_bytes()[block.start : block.end] == disk.content[block.start : block.end]
    disk.change(Plan())
    assert capture_disk(disk.path, image, "--resume").code == 0
    assert image.read_bytes() == disk.content


def test_two_captures_do_not_write_one_image(failing, workspace):
    disk = failing(noise(8 * MIB), Plan(read_seconds=0.2))
    process = start_capture(disk.path, workspace / "out.img", "--map-interval", "0.05")
    wait_for_progress(workspace / "out.img.map", 1)
    assert "written by another twinfs-capture" in refusal(disk.path, workspace / "out.img", "--resume")
    disk.change(Plan())
    finish(process)
    assert (workspace / "out.img").read_bytes() == disk.content


def test_resume_begins_where_there_is_nothing_yet(workspace):
    (workspace / "source").write_bytes(noise(MIB))
    assert capture_disk(workspace / "source", workspace / "out.img", "--resume").code == 0
    assert (workspace / "out.img").read_bytes() == noise(MIB)


def wait_for_reads(disk, process, count: int) -> None:
    """Progress, not time: how soon a program gets to work is not the same on two machines."""
    deadline = time.monotonic() + 30
    while len(disk.reads()) < count and process.poll() is None:
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.001)


def wait_for_progress(map_path, least_bytes: int) -> None:
    deadline = time.monotonic() + 30
    while not (map_path.exists() and parse(map_path.read_text()).total_bytes(Status.FINISHED) >= least_bytes):
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.01)
