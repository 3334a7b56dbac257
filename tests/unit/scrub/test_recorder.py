"""What is written is known without a scrub, once it has been left alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from blake3 import blake3

from support.faults import flip
from twinfs.model import Mode
from twinfs.scrub.changes import Changes
from twinfs.scrub.objects import Objects, Row
from twinfs.scrub.recorder import Recorder
from twinfs.scrub.store import FILE_NAME, Store
from unit.mirror.kit import Ground, User, new_ground, running


class Listener:
    """A recorder that listens to a volume, and does not wait."""

    def __init__(self, ground: Ground, user: User) -> None:
        core = user.volume.core
        self.volume = user.volume
        self.directory = ground.state / "pair"
        self.changes = Changes(self.directory, lambda ident: ident in core.stale or ident in core.copying)
        self.recorder = Recorder(core, self.directory, self.changes)
        self.changes.on_cleared = self.recorder.cleared
        core.log.on_record = self.changes.note

    async def turn(self) -> None:
        await self.volume.sync()
        with self.recorder._lock:
            waiting = self.recorder._waiting
            self.recorder._waiting = {ident: (0.0, each) for ident, (_, each) in waiting.items()}
        await self.recorder.turn()

    def known(self, path: bytes) -> Row | None:
        store = Store(self.directory / FILE_NAME)
        try:
            return Objects(store).at(path)
        finally:
            store.close()

    def content(self, path: bytes) -> bytes | None:
        row = self.known(path)
        return None if row is None else row.known.content


@pytest.mark.parametrize("mode", [Mode.SYNC, Mode.BATCHED])
async def test_what_is_written_is_recorded_and_forgotten_when_it_is_written_again(tmp_path: Path, mode: Mode):
    ground = new_ground(tmp_path, mode)
    async with running(ground) as user:
        listener = Listener(ground, user)
        await user.mkdir("d")
        await user.put("d/file", b"first")
        await listener.turn()
        row = listener.known(b"d/file")
        assert row is not None
        assert row.known.content == blake3(b"first").digest()
        assert row.known.view is not None
        assert row.ident == os.stat(ground.primary / "d/file").st_ino
        assert row.scrubbed_ns == 0
        await user.write("d/file", 0, b"other")
        listener.changes.flush()
        assert listener.content(b"d/file") is None
        await listener.turn()
        assert listener.content(b"d/file") == blake3(b"other").digest()


async def test_what_is_written_meanwhile_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        listener = Listener(ground, user)
        await user.put("file", b"first")
        await user.volume.sync()
        record = listener.recorder._record

        def written_between(taken: list[object]) -> None:
            listener.changes.note(10**9, _stale(ground, "file"))
            listener.changes.flush()
            record(taken)  # type: ignore[arg-type]  what it was called with

        monkeypatch.setattr(listener.recorder, "_record", written_between)
        await listener.turn()
        assert listener.content(b"file") is None


async def test_what_is_renamed_removed_or_no_file_is_left_to_the_scrub(tmp_path: Path):
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        listener = Listener(ground, user)
        for name in ("moved", "gone", "kept"):
            await user.put(name, name.encode())
        await user.volume.sync()
        await user.rename("moved", "elsewhere")
        await user.unlink("gone")
        await listener.turn()
        assert listener.content(b"kept") == blake3(b"kept").digest()
        assert listener.content(b"moved") is None
        assert listener.content(b"gone") is None


async def test_what_was_changed_behind_the_volumes_back_does_not_pass_for_good(tmp_path: Path):
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        listener = Listener(ground, user)
        await user.put("file", b"good")
        await user.volume.sync()
        time.sleep(0.02)  # longer than the tick of the file system's clock
        flip(ground.primary / "file", 1)
        await listener.turn()
        assert listener.content(b"file") is None


async def test_what_a_scrub_has_recorded_stays(tmp_path: Path):
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        listener = Listener(ground, user)
        await user.put("file", b"good")
        await listener.turn()
        store = Store(listener.directory / FILE_NAME)
        store.db.execute("UPDATE object SET content = x'77'")
        store.close()
        listener.recorder.cleared(os.stat(ground.primary / "file").st_ino, b"file")
        await listener.turn()
        assert listener.content(b"file") == b"w"


def _stale(ground: Ground, name: str):
    from twinfs.journal.records import Stale

    return Stale(os.stat(ground.primary / name).st_ino, name.encode(), 0, 100)
