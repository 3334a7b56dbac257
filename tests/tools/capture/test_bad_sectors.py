"""A source that really fails, read by us and by GNU ddrescue."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.failing_disk import SECTOR, Plan, joined, sectors
from support.machine import needs_root, run, tool
from tools.capture.conftest import capture, capture_disk, noise
from twinfs.images.rescue_map import Status, parse

MIB = 1 << 20


def ddrescue(source: Path, dest: Path, map_path: Path, *options: str) -> None:
    # -b: what it takes for a sector, -c: how many it reads at once, as by default.
    run(tool("ddrescue", "gddrescue"), "-b", "512", *options, source, dest, map_path)


def scattered(size: int, count: int, seed: int) -> list[tuple[int, int]]:
    generator = random.Random(seed)
    return sectors(*sorted(generator.sample(range(size // SECTOR), count)))


def clustered(size: int, seed: int) -> list[tuple[int, int]]:
    generator = random.Random(seed)
    starts = [generator.randrange(size // SECTOR - 200) for _ in range(6)]
    return [(start * SECTOR, (start + generator.randrange(1, 200)) * SECTOR) for start in starts]


EDGES = [(0, SECTOR), (MIB - SECTOR, MIB + SECTOR), (3 * MIB - SECTOR, 3 * MIB)]
DAMAGE = {
    "none": [],
    "one sector": sectors(4711),
    "the first and the last": EDGES,
    "scattered": scattered(3 * MIB, 60, 3),
    "clusters": clustered(3 * MIB, 4),
    "all of it": [(0, 3 * MIB)],
}


@pytest.mark.parametrize("bad", DAMAGE.values(), ids=DAMAGE.keys())
def test_the_same_bytes_are_rescued_as_by_ddrescue_and_the_map_says_the_same(failing, workspace, bad):
    disk = failing(noise(3 * MIB), Plan(bad))
    image, theirs = workspace / "ours.img", workspace / "theirs.img"
    found = capture_disk(disk.path, image)
    ddrescue(disk.path, theirs, workspace / "theirs.map")
    assert found.code == (1 if bad else 0)
    assert image.read_bytes() == disk.expected()
    assert found.unread == list(joined(bad))
    ours = parse((workspace / "ours.img.map").read_text())
    other = parse((workspace / "theirs.map").read_text())
    assert list(ours.blocks()) == list(other.blocks())
    assert ours.position.phase == other.position.phase == "+"
    if bad != [(0, 3 * MIB)]:
        # What ddrescue could not read at the end, it leaves away.
        assert theirs.read_bytes() == disk.expected()[: theirs.stat().st_size]


def test_a_size_that_is_no_whole_sector_is_read_to_its_last_byte(failing, workspace):
    disk = failing(noise(MIB + 777), Plan([*sectors(3), (MIB + 512, MIB + 777)]))
    found = capture_disk(disk.path, workspace / "out.img")
    assert found.unread == [(3 * SECTOR, SECTOR), (MIB + 512, 265)]
    assert (workspace / "out.img").read_bytes() == disk.expected()


def test_what_ddrescue_began_we_go_on_with_and_read_nothing_twice(failing, workspace):
    disk = failing(noise(4 * MIB), Plan(scattered(4 * MIB, 40, 5)))
    image, map_path = workspace / "out.img", workspace / "out.map"
    # Its first pass only, and of that only the first half.
    ddrescue(disk.path, image, map_path, "-n", "-s", str(2 * MIB))
    before = parse(map_path.read_text())
    assert before.total_bytes(Status.NON_TRIED) + before.total_bytes(Status.NON_SCRAPED) > 0
    disk.forget_reads()
    found = capture_disk(disk.path, image, "--map", map_path, "--resume")
    assert image.read_bytes() == disk.expected()
    assert found.unread == list(joined(disk.plan.bad))
    for offset, length in disk.reads():
        assert not any(
            block.start < offset + length and offset < block.end for block in before.blocks(Status.FINISHED)
        ), (offset, length)


def test_what_we_began_ddrescue_goes_on_with(failing, workspace):
    disk = failing(noise(4 * MIB), Plan(scattered(4 * MIB, 40, 6)))
    image, map_path = workspace / "out.img", workspace / "out.img.map"
    found = capture_disk(disk.path, image, "--retries", "0")
    assert len(found.unread) == 40
    disk.change(Plan(disk.plan.bad[:10]))
    ddrescue(disk.path, image, map_path, "-r", "1")
    assert image.read_bytes() == disk.expected()
    unread = [(start, end - start) for start, end in parse(map_path.read_text()).unfinished()]
    assert unread == list(joined(disk.plan.bad))


def test_retries_read_what_a_sector_gives_only_now_and_then(failing, workspace):
    disk = failing(noise(MIB), Plan(sectors(5, 900, 901, 1500), heals_after=12))
    once = capture_disk(disk.path, workspace / "once.img", "--retries", "0")
    assert sum(length for _, length in once.unread) == 4 * SECTOR
    found = capture_disk(disk.path, workspace / "once.img", "--resume", "--retries", "20")
    assert found.code == 0
    assert (workspace / "once.img").read_bytes() == disk.content


def test_slow_areas_are_left_for_later_and_read_in_the_end(failing, workspace):
    slow = [(MIB * 2, MIB * 2 + 256 * 1024)]
    disk = failing(noise(8 * MIB), Plan(slow=slow, slow_seconds=0.6))
    found = capture_disk(disk.path, workspace / "out.img")
    assert found.code == 0
    assert (workspace / "out.img").read_bytes() == disk.content
    offsets = [offset for offset, _ in disk.reads()]
    first_slow = next(n for n, offset in enumerate(offsets) if slow[0][0] <= offset < slow[0][1])
    assert max(offsets[:first_slow]) < max(offsets), "nothing was left for after the slow area"


@pytest.mark.parametrize("retries", ["0", "3"])
def test_bad_areas_are_listed_for_people_with_offset_and_length(failing, workspace, retries):
    disk = failing(noise(MIB), Plan(sectors(7, 8, 100)))
    done = capture("disk", disk.path, workspace / "out.img", "--retries", retries, check=False)
    assert done.returncode == 1
    assert "  offset 3584, length 1024\n  offset 51200, length 512\n" in done.stdout
    assert "--resume --retries" in done.stderr
    assert f"image affected --map {workspace}/out.img.map {workspace}/out.img" in done.stderr


def test_resuming_a_finished_capture_reads_only_the_bad_sectors_again(failing, workspace):
    disk = failing(noise(MIB), Plan(sectors(7, 8, 100)))
    capture_disk(disk.path, workspace / "out.img")
    disk.forget_reads()
    found = capture_disk(disk.path, workspace / "out.img", "--resume")
    assert {offset for offset, _ in disk.reads()} == {7 * SECTOR, 8 * SECTOR, 100 * SECTOR}
    assert found.summary["taken_bytes"] == 0
    assert found.code == 1


@needs_root
def test_a_block_device_with_bad_sectors_is_read_as_ddrescue_reads_it(failing, workspace):
    """A loop device over the failing file: the kernel's own block layer says EIO, and O_DIRECT says where."""
    disk = failing(noise(4 * MIB), Plan([*EDGES, *sectors(4711, 5000)]))
    losetup = tool("losetup", "mount")
    device = run(losetup, "--find", "--show", "--read-only", disk.path).stdout.strip()
    try:
        found = capture_disk(Path(device), workspace / "ours.img")
        ddrescue(Path(device), workspace / "theirs.img", workspace / "theirs.map", "--idirect")
    finally:
        run(losetup, "--detach", device)
    assert found.unread == list(joined(disk.plan.bad))
    assert (workspace / "ours.img").read_bytes() == disk.expected()
    ours = parse((workspace / "ours.img.map").read_text())
    assert list(ours.blocks()) == list(parse((workspace / "theirs.map").read_text()).blocks())
