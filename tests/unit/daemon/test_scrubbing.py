"""Scrubs of an open volume: by its clock, one at a time, told as events."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from support.faults import flip
from twinfs.daemon import scrubbing
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import ScrubRequest
from twinfs.errors import ScrubError
from twinfs.model import Mismatch, Mode, Progress
from unit.mirror.kit import Ground, User, new_ground


class Scrubbed:
    """An open volume with its scrubs, and what was told of them."""

    def __init__(self, ground: Ground, paths: Paths) -> None:
        self.ground = ground
        self.volume, self.scrubs = scrubbing.open_volume(paths, ground.config)
        self.events: list[tuple[str, str]] = []
        self.told = trio.Event()
        self.volume.on_event = self._on_event

    def _on_event(self, kind: str, message: str) -> None:
        if "scrub" in kind or "mismatch" in kind:
            self.events.append((kind, message))
            self.told.set()

    async def run(self, request: ScrubRequest) -> None:
        async def on_mismatch(mismatch: Mismatch) -> None:
            """The event tells."""

        def on_progress(progress: Progress) -> None:
            """Nobody watches."""

        await self.scrubs.run(request, on_progress, on_mismatch)


@asynccontextmanager
async def scrubbed(base: Path, scrub_at: str | None = None) -> AsyncIterator[Scrubbed]:
    ground = new_ground(base, Mode.SYNC)
    ground.config = replace(ground.config, scrub_at=scrub_at)
    made = Scrubbed(ground, Paths(base / "config", ground.state, base / "run"))
    user = User(made.volume)
    await made.volume.sync()
    await user.put("file", b"content" * 100)
    await made.volume.sync()
    try:
        yield made
    finally:
        await made.volume.close()


async def test_a_volume_scrubs_itself_when_it_is_time(tmp_path, monkeypatch):
    waits = iter([0.01, math.inf])
    monkeypatch.setattr(scrubbing, "seconds_until_next", lambda at: next(waits))
    async with scrubbed(tmp_path, "sun 03:00") as made, trio.open_nursery() as nursery:
        nursery.start_soon(made.scrubs.work)
        with trio.fail_after(30):
            await made.told.wait()
        nursery.cancel_scope.cancel()
        assert made.events == [("scrubbed", "full: 1 object, 700 B read: both legs are equal")]


async def test_a_scrub_that_was_interrupted_by_the_end_goes_on_after_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(scrubbing, "_RESUME_AFTER_SECONDS", 0.01)
    monkeypatch.setattr(scrubbing, "seconds_until_next", lambda at: math.inf)
    async with scrubbed(tmp_path, "03:00") as made, trio.open_nursery() as nursery:

        async def be_interrupted() -> None:
            with pytest.raises(ScrubError, match="goes on from here"):
                await made.run(ScrubRequest("full", max_rate=100.0))

        async with trio.open_nursery() as scrubs:
            scrubs.start_soon(be_interrupted)
            await trio.sleep(1)
            await made.scrubs.stop()
        nursery.start_soon(made.scrubs.work)
        with trio.fail_after(30):
            await made.told.wait()
        nursery.cancel_scope.cancel()
        assert [kind for kind, _ in made.events] == ["scrubbed"]


async def test_what_is_left_and_what_is_repaired_are_told_apart(tmp_path):
    async with scrubbed(tmp_path) as made:
        await made.run(ScrubRequest("full"))
        flip(made.ground.secondary / "file", 5)
        await made.run(ScrubRequest("full"))
        await made.run(ScrubRequest("full", repair=True))
        assert [kind for kind, _ in made.events] == ["scrubbed", "mismatches_left", "mismatches_repaired"]
        assert "file (content, bad leg: secondary)" in made.events[1][1]


async def test_two_at_once_are_refused(tmp_path):
    async with scrubbed(tmp_path) as made, trio.open_nursery() as nursery:
        nursery.start_soon(made.run, ScrubRequest("full"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ScrubError, match="already"):
            await made.run(ScrubRequest("full"))


async def test_without_the_secondary_there_is_nothing_to_compare(tmp_path):
    async with scrubbed(tmp_path) as made:
        made.ground.secondary.rename(tmp_path / "elsewhere")
        made.volume.core.secondary_failed(OSError(5, "gone"))
        with pytest.raises(ScrubError, match="without the secondary"):
            await made.run(ScrubRequest("full"))
        (tmp_path / "elsewhere").rename(made.ground.secondary)
