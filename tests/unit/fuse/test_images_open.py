"""Readers of a volume's images: as many as there may be, and none for what nobody looks into."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from support.images import MIB, blank, tool
from twinfs.fuse.virtual import images_open
from twinfs.fuse.virtual.images_open import OpenImage, OpenImages, Place
from twinfs.images.worker.origin import stamp_of


@pytest.fixture
def leg(tmp_path: Path) -> Path:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/letter").write_text("dear")
    (tmp_path / "leg").mkdir()
    for number in range(4):
        image = blank(tmp_path / f"leg/{number}.img", 4 * MIB)
        tool("mkfs.ext4", "-q", "-F", "-d", tmp_path / "tree", image)
    return tmp_path / "leg"


class Nodes:
    def __init__(self) -> None:
        self.written: set[int] = set()

    def standing_for(self, device: int, inode: int) -> Any:
        return SimpleNamespace(file=SimpleNamespace(write_fd=3)) if inode in self.written else None


@asynccontextmanager
async def images_of(leg: Path) -> AsyncIterator[tuple[OpenImages, Nodes]]:
    root, nodes = os.open(leg, os.O_RDONLY), Nodes()
    primary = SimpleNamespace(fd=root)
    volume: Any = SimpleNamespace(
        pair=SimpleNamespace(primary=primary), core=SimpleNamespace(nodes=nodes), roles=SimpleNamespace()
    )
    try:
        async with trio.open_nursery() as nursery:
            images = OpenImages(volume, nursery)
            nursery.start_soon(images.run)
            yield images, nodes
            nursery.cancel_scope.cancel()
    finally:
        os.close(root)


def image(images: OpenImages, leg: Path, name: str) -> OpenImage:
    return images.get(name.encode(), stamp_of((leg / name).stat()))


async def letter_in(opened: OpenImage, place: Place | None = None) -> tuple[Place, bytes]:
    place = place or Place(Place(Place(Place(), b"p0"), b"deep"), b"letter")
    content, _ = await opened.ask(place, "read", 0, 100)
    return place, content


async def until_none_runs(images: OpenImages) -> None:
    with trio.fail_after(30):
        while images.running:  # noqa: ASYNC110  nothing tells
            await trio.sleep(0.02)


async def test_what_is_idle_has_no_reader_and_gets_one_when_asked_again(leg, monkeypatch):
    monkeypatch.setattr(images_open, "_IDLE_SECONDS", 0.3)
    monkeypatch.setattr(images_open, "_LOOK_SECONDS", 0.05)
    async with images_of(leg) as (images, _):
        opened = image(images, leg, "0.img")
        place, content = await letter_in(opened)
        assert content == b"dear"
        assert images.running == {opened}
        await until_none_runs(images)
        # A place outlives the reader that gave it a number.
        assert await letter_in(opened, place) == (place, b"dear")


async def test_there_are_no_more_readers_than_there_may_be(leg, monkeypatch):
    monkeypatch.setattr(images_open, "_MOST_READERS", 2)
    async with images_of(leg) as (images, _):
        opened = [image(images, leg, f"{number}.img") for number in range(4)]
        for each in opened:
            assert (await letter_in(each))[1] == b"dear"
        assert images.running == {opened[2], opened[3]}
        most = 0

        async def look(each: OpenImage) -> None:
            nonlocal most
            assert (await letter_in(each))[1] == b"dear"
            most = max(most, len(images.running))

        async with trio.open_nursery() as nursery:
            for each in opened * 3:
                nursery.start_soon(look, each)
        assert most == 2


async def test_where_all_readers_stay_busy_the_next_is_refused_in_time(leg, monkeypatch):
    monkeypatch.setattr(images_open, "_MOST_READERS", 1)
    monkeypatch.setattr(images_open, "_WAITING_SECONDS", 0.3)
    async with images_of(leg) as (images, _):
        busy = image(images, leg, "0.img")
        await letter_in(busy)
        busy._asking += 1
        with pytest.raises(BlockingIOError):
            await letter_in(image(images, leg, "1.img"))
        busy._asking -= 1
        assert (await letter_in(image(images, leg, "1.img")))[1] == b"dear"


async def test_an_image_that_cannot_be_opened_any_more_costs_no_descriptor(leg):
    async with images_of(leg) as (images, _):
        opened = image(images, leg, "0.img")
        place, _ = await letter_in(opened)
        os.utime(leg / "0.img")
        (leg / "0.img").unlink()
        before = None
        for _ in range(20):
            with pytest.raises(OSError, match="Stale"):
                await letter_in(opened, place)
            before = before or len(os.listdir("/proc/self/fd"))
        assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_file_that_is_written_or_was_is_refused(leg):
    async with images_of(leg) as (images, nodes):
        opened = image(images, leg, "0.img")
        place, _ = await letter_in(opened)
        nodes.written.add((leg / "0.img").stat().st_ino)
        with pytest.raises(OSError, match="busy") as caught:
            await letter_in(opened, place)
        assert caught.value.errno == errno.EBUSY
        assert not images.running
        nodes.written.clear()
        os.utime(leg / "0.img")
        with pytest.raises(OSError, match="Stale") as caught:
            await letter_in(opened, place)
        assert caught.value.errno == errno.ESTALE
        assert (await letter_in(image(images, leg, "0.img")))[1] == b"dear"


async def test_the_same_file_is_the_same_image(leg):
    async with images_of(leg) as (images, _):
        assert image(images, leg, "0.img") is not image(images, leg, "1.img")
        opened = image(images, leg, "0.img")
        assert image(images, leg, "0.img") is opened


async def test_the_readers_of_a_disk_that_was_the_primary_end(leg):
    async with images_of(leg) as (images, _):
        await letter_in(image(images, leg, "0.img"))
        images._volume.roles.on_another_primary()
        assert not images.running


async def test_a_reader_that_is_killed_is_replaced(leg):
    async with images_of(leg) as (images, _):
        opened = image(images, leg, "0.img")
        place, _ = await letter_in(opened)
        reader = opened._reader
        assert reader is not None
        assert reader._process is not None
        reader._process.kill()
        assert (await letter_in(opened, place))[1] == b"dear"
