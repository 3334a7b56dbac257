"""A secondary that comes, goes and comes back at the worst moment."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from twinfs.errors import LegError
from twinfs.journal.log import LogFile
from twinfs.journal.replay import recover
from twinfs.mirror import attaching, hang, upkeep
from twinfs.mirror.attributes import Wanted
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, abandon, new_ground, running

GONE = OSError(errno.EIO, "it fell off")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 0.02)


def spoil(path: Path) -> None:
    """Other bytes, the same size and times: what a power cut leaves where the data had not been written."""
    info = path.stat()
    path.write_bytes(bytes(info.st_size))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


async def test_changes_are_counted_when_the_leg_comes_back_while_the_log_is_to_be_bounded(
    tmp_path: Path, impatient: None
) -> None:
    made = new_ground(tmp_path, Mode.SYNC)
    ground = Ground(made.base, replace(made.config, log_limit=10))
    async with running(ground) as user:
        volume, core = user.volume, user.volume.core
        core.secondary_failed(GONE)
        for number in range(20):
            await user.put(f"f{number}", b"x")
        secondary = volume.pair.secondary
        async with trio.open_nursery() as nursery:
            async with volume.drain_lock:
                nursery.start_soon(volume.upkeep._check_now_and_then)
                await trio.sleep(0.2)
                assert await secondary.look_again(core, volume.pair.primary)
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()
        await volume.sync()
        await user.put("later", b"must be mirrored, too")
        await volume.sync()
        ground.assert_equal()


async def test_what_was_being_made_durable_when_the_leg_failed_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        volume, core = user.volume, user.volume.core
        await user.put("f", b"precious")
        hanging, let_go = threading.Event(), threading.Event()

        def hang_there(fd: int) -> None:
            hanging.set()
            let_go.wait()

        monkeypatch.setattr(attaching, "syncfs", hang_there)
        core.on_secondary_now(b"f")
        for node in list(core.stale.values()):
            core.clear(node)
        async with trio.open_nursery() as nursery:

            async def flush() -> None:
                with pytest.raises(OSError):
                    await core.make_secondary_durable()

            nursery.start_soon(flush)
            await trio.to_thread.run_sync(hanging.wait)
            core.secondary_failed(GONE)
            assert core.compares, "a kill now would forget it"
        let_go.set()
        monkeypatch.undo()
        spoil(ground.secondary / "f")
        await volume.sync()
        assert (ground.secondary / "f").read_bytes() == b"precious"


async def test_what_a_comparison_had_copied_when_the_leg_failed_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    (ground.primary / "old").write_bytes(b"old content, copied by the first comparison")
    os.utime(ground.primary / "old", ns=(10**18, 10**18))
    volume = ground.open()
    core = volume.core
    with monkeypatch.context() as patch:

        def fail(fd: int) -> None:
            raise GONE

        patch.setattr(attaching, "syncfs", fail)
        with pytest.raises(Exception, match="fell off"):
            await volume.sync()
    assert (ground.secondary / "old").exists()
    assert not core.is_secondary_up
    spoil(ground.secondary / "old")
    await volume.sync()
    await volume.close()
    ground.assert_equal()
    assert (ground.secondary / "old").read_bytes().startswith(b"old content")


async def test_a_comparison_of_every_byte_is_not_taken_for_one_that_trusts(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"precious")
        await user.volume.sync()
        spoil(ground.secondary / "f")
        user.volume.core.durable_ns = time.time_ns() + 3600 * 10**9  # nothing was changed since then
        user.volume.core.compare_later(b"")
        user.volume.core.compare_later(b"", 1)
        await user.volume.sync()
        assert (ground.secondary / "f").read_bytes() == b"precious"


async def test_a_full_state_disk_does_not_keep_a_failing_leg_from_being_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        core = user.volume.core
        told: list[str] = []
        user.volume.on_event = lambda kind, message: told.append(kind)
        core.on_secondary_now(b"a", b"b")
        with monkeypatch.context() as patch:

            def refuse(*_: object) -> None:
                raise OSError(errno.ENOSPC, "full")

            patch.setattr(core.log, "_write", refuse)
            core.secondary_failed(GONE)
        assert {record.path for record in core.compares.values()} >= {b"a", b"b"}
        assert "secondary_failed" in told


async def test_a_damaged_label_is_a_failure_of_the_leg_and_not_of_the_volume(
    tmp_path: Path, impatient: None
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        volume = user.volume
        label = ground.secondary / ".twinfs/label.json"
        kept = label.read_bytes()
        async with trio.open_nursery() as nursery:
            await nursery.start(volume.run)
            label.write_bytes(b"\x00\xff not a label")
            with trio.fail_after(5):
                while volume.core.is_secondary_up:  # noqa: ASYNC110 - a test
                    await trio.sleep(0.01)
            await user.put("goes on", b"1")
            label.write_bytes(kept)
            with trio.fail_after(5):
                while not volume.core.is_secondary_up:  # noqa: ASYNC110 - a test
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    ground.assert_equal()


async def test_a_device_that_is_gone_with_its_counters_hangs_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = tmp_path / "stat"
    counters.write_text("1 0 0 0 1 0 0 0 0 0 0 0 0 0 0 1 0")
    monkeypatch.setattr(hang, "_statistics_of", lambda device: counters)
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        core = user.volume.core
        let_go, told = threading.Event(), trio.Event()
        watch = hang.HangWatch(core, 0.4, told.set)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            job = core.attachment.start(let_go.wait)
            await trio.sleep(0.35)
            counters.unlink()
            with trio.move_on_after(3):
                await told.wait()
            nursery.cancel_scope.cancel()
        let_go.set()
        await job.wait()
        assert told.is_set()


async def test_a_replacement_that_fails_leaves_no_descriptor_behind_that_is_used_again(
    tmp_path: Path,
) -> None:
    from twinfs.errors import TwinfsError
    from twinfs.model import Action, Order

    ground = new_ground(tmp_path, Mode.SYNC)
    new = tmp_path / "new"
    new.mkdir()
    async with running(ground) as user:
        volume = user.volume

        def refuse(*_: object) -> None:
            raise TwinfsError("the settings cannot be written")

        order = Order(Action.REPLACE, "secondary", str(new), is_forced=True)
        with pytest.raises(TwinfsError):
            await volume.recover(order, False, lambda _: None, refuse)
        assert volume.pair.secondary.leg is None
        assert volume.pair.primary.label.is_alone
        await volume.sync()
        await user.put("f", b"1")
    ground.assert_equal()


async def test_a_log_that_is_shortened_knows_what_the_lane_does_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        for name in ("a", "b"):
            await user.put(name, name.encode() * 10)
        await user.volume.sync()
        core = user.volume.core
        for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
            await user.rename(old, new)
        number, begun = core.names_number, threading.Event()
        monkeypatch.setattr(upkeep, "_LARGE_LOG_BYTES", 0)

        def catch_up() -> None:
            begun.wait(0.2)
            core.catch_up(number)

        def make_the_lane_work() -> None:
            begun.set()
            time.sleep(0.2)

        core.log.before_forgetting = make_the_lane_work
        job = core.lane.start(catch_up)
        await user.volume.upkeep._shorten_log()
        await job.wait()
        core.log.before_forgetting = lambda: None
        assert not core.pending
        recovered = recover(LogFile(ground.state / "pair", ground.config.volume_id))
        assert not recovered.changes, "a kill now would do the renames a second time"


async def test_a_log_may_begin_anew_while_it_is_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        log, fsync = user.volume.core.log, os.fsync
        with monkeypatch.context() as patch:

            def begin_anew_first(fd: int) -> None:
                patch.setattr(os, "fsync", fsync)
                log.start([], log.last_number)
                fsync(fd)

            patch.setattr(os, "fsync", begin_anew_first)
            log.fsync()


async def test_the_secondary_is_not_blamed_for_what_the_primary_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"1")
        bad, real = os.stat(ground.primary / "f").st_ino, os.listxattr

        def list_xattrs(path: bytes, *, follow_symlinks: bool = True) -> list[str]:
            if os.stat(path, follow_symlinks=follow_symlinks).st_ino == bad:
                raise OSError(errno.EIO, "a bad block")
            return real(path, follow_symlinks=follow_symlinks)

        with monkeypatch.context() as patch:
            patch.setattr(os, "listxattr", list_xattrs)
            await user.change("f", Wanted(mode=0o600))
            with pytest.raises(LegError):
                await user.volume.sync()
            assert user.volume.core.is_secondary_up
            await user.put("g", b"goes on")
            assert (ground.secondary / "g").read_bytes() == b"goes on"
        await user.volume.sync()
        ground.assert_equal()


async def test_what_a_killed_session_had_not_made_durable_is_compared_when_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"old news")
    volume = ground.open()
    user = User(volume)
    await volume.sync()
    await user.write("f", 0, b"precious")
    while volume.core.stale:
        # The last mark goes; nothing is made durable.
        with monkeypatch.context() as patch:
            patch.setattr(volume._drainer, "_rest", trio.lowlevel.checkpoint)
            await volume._drainer.settle()
    abandon(volume)
    volume = ground.open()
    core = volume.core
    assert not core.stale and not core.compares and not core.is_proven(b"f")
    core.secondary_failed(GONE)
    spoil(ground.secondary / "f")
    await volume.sync()
    await volume.close()
    ground.assert_equal()
    assert (ground.secondary / "f").read_bytes() == b"precious"
