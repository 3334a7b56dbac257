"""What goes when: by age, by size, for want of room; and that nobody's change fails for a version."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from twinfs.mirror.versions import segments, shelf
from twinfs.mirror.versions.ledger import Ledger
from twinfs.mirror.versions.window import Window, size_in
from twinfs.model import Mode
from unit.mirror.kit import KEEP_SECONDS, Ground, new_ground, running

DAY_NS = 86400 * 10**9


@pytest.fixture
def kept(tmp_path: Path) -> Ground:
    return new_ground(tmp_path, Mode.SYNC, keep=KEEP_SECONDS)


def root_of(ground: Ground) -> int:
    return os.open(ground.secondary, os.O_RDONLY | os.O_DIRECTORY)


async def delete_some(ground: Ground, count: int = 6) -> None:
    async with running(ground) as user:
        for number in range(count):
            await user.put(f"f{number}", bytes(100_000))
        await user.volume.sync()
        for number in range(count):
            await user.unlink(f"f{number}")


async def test_what_is_older_than_the_window_goes(kept: Ground) -> None:
    await delete_some(kept)
    root = root_of(kept)
    window = Window(KEEP_SECONDS)
    held, _ = Ledger().trim(root, window, time.time_ns() + 29 * DAY_NS, but=None)
    assert held.bytes >= 600_000
    assert held.since is not None
    held, _ = Ledger().trim(root, window, time.time_ns() + 31 * DAY_NS, but=None)
    assert (held.bytes, held.since, segments.names(root)) == (0, None, [])
    assert list((kept.secondary / ".twinfs/tmp").iterdir()) == []
    os.close(root)


async def test_the_oldest_go_first_when_there_is_too_much(
    kept: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "SEGMENT_RECORDS", 2)
    await delete_some(kept)
    root = root_of(kept)
    ledger = Ledger()
    before = [each.name for each in ledger.look(root)]
    assert len(before) >= 6
    held, _ = ledger.trim(root, Window(KEEP_SECONDS, "350K"), time.time_ns(), but=None)
    after = [each.name for each in ledger.look(root)]
    assert after == before[-len(after) :]
    assert 200_000 < held.bytes <= 350 << 10
    os.close(root)


async def test_the_segment_that_is_written_is_ended_before_it_goes(kept: Ground) -> None:
    kept.config = replace(kept.config, keep_versions_size="100K")
    async with running(kept) as user:
        await user.put("f", bytes(300_000))
        await user.unlink("f")
        keeper = user.volume.core.applier.keeper
        assert keeper.shelf is not None
        first = keeper.shelf.segment
        await user.volume.expiry.turn()
        assert keeper.shelf.segment == first
        await user.put("g", b"x")
        assert keeper.shelf.segment != first
        await user.volume.expiry.turn()
        held = user.volume.status(pid=None, mountpoint=None).versions
        assert held is not None
        assert held.bytes < 100 << 10


async def test_status_says_what_versions_take_mounted_or_not(kept: Ground) -> None:
    async with running(kept) as user:
        await user.put("f", bytes(300_000))
        await user.unlink("f")
        await user.volume.expiry.turn()
        held = user.volume.status(pid=None, mountpoint=None).versions
        space = await user.volume.attributes.space()
    assert held is not None
    assert held.bytes >= 300_000
    assert held.since is not None
    # They give way to what people write: for them it is free.
    assert space.f_bavail <= space.f_blocks
    offline = user.volume.offline_status(kept.config, kept.state).versions
    assert offline is not None
    assert (offline.bytes >= 300_000, offline.since) == (True, held.since)


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_version_that_cannot_be_kept_is_told_of_once_and_costs_nobody_anything(
    tmp_path: Path, mode: Mode
) -> None:
    ground = new_ground(tmp_path, mode, keep=KEEP_SECONDS)
    (ground.secondary / ".twinfs/versions").write_text("in the way")
    events: list[str] = []
    async with running(ground) as user:
        user.volume.on_event = lambda kind, message: events.append(kind)
        for name in ("f", "g"):
            await user.put(name, b"content")
            await user.volume.sync()
            await user.truncate(name, 2)
            await user.unlink(name)
            await user.volume.sync()
            await user.volume.expiry.turn()
    assert events == ["versions_not_kept"]
    ground.assert_equal()


REFUSALS = ("write to the log", "create the log", "put an object there", "rename over another")


@pytest.mark.parametrize("refused", REFUSALS)
async def test_a_leg_without_room_for_a_record_is_not_tried_for_ever(
    kept: Ground, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """btrfs refuses so when it is full, whatever small things are dropped: each try makes a new segment."""
    plain_write, plain_open, plain_link, plain_rename = os.write, os.open, os.link, os.rename
    tries = 0

    def refuse(*, is_meant: bool) -> None:
        nonlocal tries
        if is_meant:
            tries += 1
            assert tries < 20, "for ever"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(fd: int, data: bytes) -> int:
        refuse(is_meant=refused == REFUSALS[0] and b"/versions/" in os.readlink(b"/proc/self/fd/%d" % fd))
        return plain_write(fd, data)

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        refuse(is_meant=refused == REFUSALS[1] and path == b"log" and bool(flags & os.O_CREAT))
        return plain_open(path, flags, *rest, **named)

    def link(source: Any, path: Any, **named: Any) -> None:
        refuse(is_meant=refused == REFUSALS[2] and path.isdigit())
        plain_link(source, path, **named)

    def rename(source: Any, path: Any, **named: Any) -> None:
        directory = os.readlink(b"/proc/self/fd/%d" % named["dst_dir_fd"])
        refuse(is_meant=refused == REFUSALS[2] and path.isdigit())
        refuse(is_meant=refused == REFUSALS[3] and b"/secondary" in directory and path == b"old")
        plain_rename(source, path, **named)

    async with running(kept) as user:
        for name in ("old", "new", "other"):
            await user.put(name, bytes(100_000))
        await user.volume.sync()
        shelf_there = user.volume.core.applier.keeper.shelf
        assert shelf_there is not None
        await user.volume.core.lane.run(shelf_there.end_segment)
        for name, instead in (("write", write), ("open", open_), ("link", link), ("rename", rename)):
            monkeypatch.setattr(os, name, instead)
        await user.rename("new", "old")
        await user.unlink("other")
        monkeypatch.undo()
        await user.volume.sync()
    assert tries > 0
    kept.assert_equal()


async def test_a_log_that_is_full_of_records_begins_another(
    kept: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "SEGMENT_RECORDS", 5)
    await delete_some(kept, 20)
    root = root_of(kept)
    names = segments.names(root)
    assert len(names) >= 8
    assert names == sorted(names)
    os.close(root)


async def test_a_file_that_a_copy_did_not_finish_is_no_version(kept: Ground) -> None:
    async with running(kept) as user:
        await user.put("f", b"half of it is there")
        await user.volume.sync()
        applier = user.volume.core.applier
        fd = os.open(kept.secondary / "f", os.O_RDONLY)
        await user.volume.core.lane.run(lambda: applier.keeper.filling(fd))
        os.close(fd)
    # As a kill in the middle of it leaves it: the next session knows.
    async with running(kept) as user:
        await user.unlink("f")
    root = root_of(kept)
    found = [record for name in segments.names(root) for record in segments.read(root, name).records]
    os.close(root)
    assert not list((kept.secondary / ".twinfs/versions").glob("*/[0-9]*/"))
    assert [record.kept.number for record in found if hasattr(record, "kept")] == [-1]


@pytest.mark.parametrize(
    ("text", "wanted"), [("10%", 100), ("0.5%", 5), ("50G", 50 << 30), ("800M", 800 << 20), ("123", 123)]
)
def test_sizes_are_shares_or_bytes(text: str, wanted: int) -> None:
    assert size_in(text, 1000) == wanted


@pytest.mark.parametrize("text", ["", "ten", "0%", "101%", "-5G", "5X"])
def test_sizes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a size|more than there is"):
        size_in(text, 1000)


async def test_expiry_goes_on_behind_the_callers(kept: Ground) -> None:
    await delete_some(kept)
    kept.config = replace(kept.config, keep_versions_seconds=0.001)
    async with running(kept) as user, trio.open_nursery() as nursery:
        await nursery.start(user.volume.run)
        with trio.fail_after(60):
            while list((kept.secondary / ".twinfs/versions").glob("*")):  # noqa: ASYNC110 - a test's patience
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
