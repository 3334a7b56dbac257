"""Roles that change, and what is in the way of that."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from twinfs.errors import TwinfsError
from twinfs.fsio.syscalls import RENAME_EXCHANGE
from twinfs.journal.log import IntentLog
from twinfs.mirror import label
from twinfs.mirror.attributes import Wanted
from twinfs.mirror.volume import Volume
from twinfs.model import Action, LegState, Mode, Order, Role, VolumeState
from unit.mirror.kit import Ground, User, abandon, new_ground, running


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "full")


def start_again(ground: Ground) -> Volume:
    return Volume.open(ground.config, ground.state)


@pytest.mark.parametrize("refused", (2, 3, "log"))
async def test_a_promotion_that_is_refused_half_way_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int | str
) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        await user.put("f", b"before")
    volume = ground.open()
    user = User(volume)
    await volume.sync()
    with monkeypatch.context() as patch:
        if refused == "log":
            patch.setattr(IntentLog, "start", full)
        else:
            calls: list[int] = []
            write = label._write_label

            def refuse_one(*arguments: Any) -> None:
                calls.append(1)
                if len(calls) == refused:
                    full()
                write(*arguments)

            patch.setattr(label, "_write_label", refuse_one)
        with pytest.raises((OSError, TwinfsError)):
            await volume.roles.promote()
    # Answered, and not on the other leg yet, when the process is killed.
    await user.write("f", 0, b"AFTER!")
    abandon(volume)
    again = start_again(ground)
    assert again.pair.primary.place is Role.PRIMARY
    assert await User(again).read("f") == b"AFTER!"
    await again.close()
    ground.assert_equal()


async def test_a_takeover_that_is_killed_does_not_do_what_the_old_log_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        await user.put("a", b"a")
        await user.put("b", b"b")
    volume = ground.open()
    user = User(volume)
    await user.rename("a", "c")
    await user.rename("b", "a")
    abandon(volume)
    hidden = tmp_path / "hidden"
    ground.primary.rename(hidden)
    ground.primary.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(IntentLog, "start", full)
        with pytest.raises(TwinfsError):
            Volume.open(ground.config, ground.state, degraded=True)
    volume = Volume.open(ground.config, ground.state, degraded=True)
    assert not volume.core.pending, "a change of the other leg is taken for one of this"
    assert {record.is_keeping for record in volume.core.compares.values()} == {True}
    ground.primary.rmdir()
    hidden.rename(ground.primary)
    await volume.sync()
    await volume.close()
    ground.assert_equal()
    assert sorted(path.name for path in ground.secondary.iterdir())[-2:] == ["a", "b"]
    kept = {path.name for path in (ground.primary / ".twinfs/quarantine").rglob("*") if path.is_file()}
    assert "c" in kept


async def test_a_file_without_a_name_stays_what_it_is_to_who_has_it_open(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        content = user.volume.content
        node = await user.create("temporary")
        await content.write(node, 0, b"still needed")
        await user.unlink("temporary")
        await user.volume.sync()
        await user.volume.roles.promote()
        assert bytes(await content.read(node, 0, 100)) == b"still needed"
        await content.write(node, 6, b"in use")
        assert bytes(await content.read(node, 0, 100)) == b"still in use"
        assert user.volume.attributes.stat(node).st_size == 12
        content.release(node)
        await user.put("f", b"1")
    assert not os.path.exists(ground.secondary / "temporary")
    ground.assert_equal()


async def test_a_leg_that_is_being_detached_does_not_catch_up_on_its_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"1")
        volume, run_sync = user.volume, trio.to_thread.run_sync
        await volume.sync()

        async def run_and_look_away(*arguments: Any, **named: Any) -> Any:
            result = await run_sync(*arguments, **named)
            monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
            await volume.upkeep.caught_up()
            return result

        monkeypatch.setattr(trio.to_thread, "run_sync", run_and_look_away)
        secondary = volume.pair.secondary
        await secondary.detach(volume.core, volume.pair.primary)
        known = volume.pair.primary.label
        assert (known.is_alone, known.is_detached, known.events) == (True, True, 2)
        assert secondary.state is LegState.MISSING


DEAD = OSError(errno.EIO, "it does not answer")


async def test_when_both_disks_are_dead_the_primary_is_called_failed_until_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        volume = user.volume
        events: list[tuple[str, str]] = []
        volume.on_event = lambda kind, message: events.append((kind, message))
        with monkeypatch.context() as patch:

            def refuse(*_: Any) -> None:
                raise DEAD

            patch.setattr(label, "_write_label", refuse)
            assert not await volume.roles.primary_failed(volume.roles.era, DEAD)
            assert not await volume.roles.primary_failed(volume.roles.era, DEAD)
            status = volume.status(pid=1, mountpoint="/mnt")
            assert status.state is VolumeState.FAILED
            assert [leg.state for leg in status.legs] == [LegState.FAULTY, LegState.FAULTY]
            assert status.action is not None and "both disks are out" in status.action
            await volume.roles.look_at_primary()
            assert [kind for kind, _ in events].count("primary_failed") == 1
            assert not volume.pair.primary.label.is_alone
        await volume.roles.look_at_primary()
        assert events[-1][0] == "primary_back"
        assert volume.pair.primary.label.is_alone, "nothing on the disk says that they have parted"
        status = volume.status(pid=1, mountpoint="/mnt")
        assert (status.state, status.legs[0].state) == (VolumeState.DEGRADED, LegState.IN_SYNC)


async def test_a_primary_that_refuses_when_the_secondary_goes_is_known_to_have_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        volume = user.volume
        events: list[tuple[str, str]] = []
        volume.on_event = lambda kind, message: events.append((kind, message))
        with monkeypatch.context() as patch:

            def refuse(*_: Any) -> None:
                raise DEAD

            patch.setattr(label, "_write_label", refuse)
            volume.core.secondary_failed(DEAD)
        assert [kind for kind, _ in events] == ["secondary_failed", "primary_failed"]
        assert "nothing can take its place" in events[-1][1]
        assert volume.status(pid=1, mountpoint="/mnt").state is VolumeState.FAILED


async def test_a_secondary_that_is_back_takes_the_place_of_a_primary_that_is_still_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"1")
        volume = user.volume
        await volume.sync()
        primary, write = volume.pair.primary.fd, label._write_label

        def refuse_one(root_fd: int, *rest: Any) -> None:
            if root_fd == primary:
                raise DEAD
            write(root_fd, *rest)

        monkeypatch.setattr(label, "_write_label", refuse_one)
        volume.core.secondary_failed(DEAD)
        assert volume.status(pid=1, mountpoint="/mnt").state is VolumeState.FAILED
        assert await volume.upkeep.look_for_secondary()
        await volume.roles.look_at_primary()
        assert volume.pair.primary.path == ground.config.secondary
        assert await user.read("f") == b"1"
        status = volume.status(pid=1, mountpoint="/mnt")
        assert (status.state, status.legs[0].state) == (VolumeState.DEGRADED, LegState.IN_SYNC)
        monkeypatch.undo()


async def work_a_while(user: User) -> None:
    """Everything that can wait for the other leg."""
    await user.unlink("gone")
    await user.rename("moved", "d/moved")
    await user.rename("d/a", "a")
    await user.rename("d/b", "d/a")
    await user.write("written", 500, b"later")
    await user.put("new", b"new")
    await user.change("mode", Wanted(mode=0o640))
    await user.rename("one", "two", RENAME_EXCHANGE)
    user.forget_all()


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("is_killed", (True, False), ids=("killed", "unmounted"))
async def test_what_waits_for_a_primary_that_was_taken_away_survives_a_restart(
    tmp_path: Path, mode: Mode, is_killed: bool
) -> None:
    """The legs have changed their roles, and the log has numbers of the other disk."""
    ground = new_ground(tmp_path, mode)
    notes: list[str] = []
    async with running(ground) as user:
        await user.mkdir("d")
        for name in ("gone", "moved", "d/a", "d/b", "written", "mode", "one", "two", "same"):
            await user.put(name, name.encode() * 1000)
        await user.volume.sync()
        user.forget_all()
    volume = ground.open()
    await volume.sync()
    order = Order(Action.DETACH, "primary")
    await volume.recover(order, False, lambda progress: None, lambda role, path: None)
    await work_a_while(User(volume))
    untouched = (ground.primary / "same").stat().st_ino
    if is_killed:
        abandon(volume)
    else:
        await volume.close()
    again = ground.open()
    notes += again.notes
    assert not any("comparing everything" in note for note in notes)
    await User(again).put("newer", b"newer")
    await again.recover(Order(Action.ATTACH), False, lambda progress: None, lambda role, path: None)
    await again.close()
    ground.assert_equal()
    assert (ground.primary / "same").stat().st_ino == untouched
    assert (ground.primary / "written").read_bytes()[500:505] == b"later"
    for leg in (ground.primary, ground.secondary):
        assert os.listdir(leg / ".twinfs/quarantine") == []
