"""A primary that dies: what its place is taken with, what is said of both disks, and what counts as lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from twinfs.errors import TwinfsError
from twinfs.fuse.virtual.objects import FIRST_VIRTUAL
from twinfs.mirror import label, unreached
from twinfs.mirror.attributes import Wanted
from twinfs.mirror.content import Content
from twinfs.mirror.volume import Volume
from twinfs.model import LegState, Mode, Role, VolumeState
from unit.mirror.kit import Ground, User, abandon, new_ground, running

DEAD = OSError(errno.EIO, "it does not answer")


@contextmanager
def dead_primary(volume: Volume) -> Iterator[None]:
    """Its label cannot be written."""
    dead, write = volume.pair.primary, label._write_label
    dead_device = os.fstat(dead.fd).st_ino

    def refuse_one(root_fd: int, *rest: Any) -> None:
        if os.fstat(root_fd).st_ino == dead_device:
            raise DEAD
        write(root_fd, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label, "_write_label", refuse_one)
        yield


async def fail_over(volume: Volume) -> None:
    era = volume.roles.era
    with dead_primary(volume):
        assert await volume.roles.primary_failed(era, DEAD)
    assert volume.roles.era == era + 1


async def follow_again(volume: Volume) -> None:
    """The old primary is back and has everything; the labels do not say so yet."""
    assert await volume.upkeep.look_for_secondary()
    await volume._drainer.drain()
    assert not volume.core.is_behind


async def taken_over_twice(ground: Ground) -> None:
    """By each from the other; then killed."""
    volume = ground.open()
    await volume.sync()
    await fail_over(volume)
    await follow_again(volume)
    await fail_over(volume)
    await User(volume).put("f", b"1")
    abandon(volume)


async def test_an_error_right_after_is_not_taken_for_the_new_primary_s(tmp_path: Path) -> None:
    """Who had a file open that went back gets one."""
    async with running(new_ground(tmp_path, Mode.BATCHED)) as user:
        volume = user.volume
        events: list[str] = []
        volume.on_event = lambda kind, message: events.append(kind)
        await fail_over(volume)
        assert not await volume.roles.primary_failed(volume.roles.era, DEAD)
        assert events == ["primary_failed", "promoted"]
        assert volume.status(pid=1, mountpoint="/mnt").state is VolumeState.DEGRADED


@pytest.mark.parametrize("how", ("written", "cut"))
async def test_a_refused_change_does_not_hide_one_that_was_answered_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with running(new_ground(tmp_path, Mode.BATCHED)) as user:
        volume, content = user.volume, user.volume.content
        await user.put("f", b"1" * 3_000_000)
        await volume.sync()
        node = user.lookup("f")
        await content.open(node, os.O_RDWR)
        write, dies = Content._write_primary, trio.Event()

        async def wait_and_fail(self: Content, file: Any, offset: int, data: bytes) -> int:
            if offset:
                return await write(self, file, offset, data)
            await dies.wait()
            raise DEAD

        monkeypatch.setattr(Content, "_write_primary", wait_and_fail)

        async def refused() -> None:
            with pytest.raises(OSError, match="it does not answer"):
                await content.write(node, 0, b"refused")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused)
            await trio.testing.wait_all_tasks_blocked()
            if how == "written":
                await content.write(node, 2_000_000, b"answered")
            else:
                await content.truncate(node, 2_000_000)
            dies.set()
        assert unreached.lost_with_primary(volume.core) == ([b"f"], [node])
        content.release(node)


async def test_a_refused_write_does_not_hide_what_a_batch_did_not_get_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(new_ground(tmp_path, Mode.BATCHED)) as user:
        volume, core = user.volume, user.volume.core
        node = await user.put("f", b"answered")
        await volume.sync()
        await user.write("f", 0, b"later")
        taken = node.stale
        assert taken is not None
        core.unmark(node)  # as a batch does that copies it

        async def fail(*_: Any) -> int:
            raise DEAD

        with monkeypatch.context() as patch:
            patch.setattr(Content, "_write_primary", fail)
            with pytest.raises(OSError, match="it does not answer"):
                await user.write("f", 0, b"refused")
        assert unreached.lost_with_primary(core) == ([], []), "nothing but a write that was refused"
        core.restore(node, taken)
        assert unreached.lost_with_primary(core) == ([b"f"], [node])


async def test_writes_that_were_all_refused_have_lost_nothing_in_sync_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(new_ground(tmp_path, Mode.SYNC)) as user:
        content = user.volume.content
        await user.put("f", b"1" * 3_000_000)
        await user.volume.sync()
        node = user.lookup("f")
        await content.open(node, os.O_RDWR)
        dies = trio.Event()

        async def wait_and_fail(*_: Any) -> int:
            await dies.wait()
            raise DEAD

        async def refused(offset: int) -> None:
            with pytest.raises(OSError, match="it does not answer"):
                await content.write(node, offset, b"refused")

        with monkeypatch.context() as patch:
            patch.setattr(Content, "_write_primary", wait_and_fail)
            async with trio.open_nursery() as nursery:
                for offset in (0, 1_000_000, 2_000_000):
                    nursery.start_soon(refused, offset)
                await trio.testing.wait_all_tasks_blocked()
                dies.set()
        assert unreached.lost_with_primary(user.volume.core) == ([], [])
        content.release(node)


@pytest.mark.parametrize("how", ("write", "cut", "mode"))
async def test_what_is_answered_after_a_refusal_is_only_on_the_primary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with running(new_ground(tmp_path, Mode.SYNC)) as user:
        core = user.volume.core
        node = await user.put("f", b"1" * 1000)
        await user.volume.sync()

        async def refuse(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "full")

        with monkeypatch.context() as patch:
            patch.setattr(Content, "_write_primary", refuse)
            with pytest.raises(OSError, match="full"):
                await user.write("f", 0, b"refused")
        assert unreached.lost_with_primary(core) == ([], [])
        if how == "write":
            await user.write("f", 0, b"answered")
        elif how == "cut":
            await user.truncate("f", 7)
        else:
            await user.change("f", Wanted(mode=0o600))
        assert unreached.lost_with_primary(core) == ([b"f"], [node])


async def test_a_leg_may_take_over_before_the_labels_say_that_it_has_everything(tmp_path: Path) -> None:
    """The other one was alone until then: that is no split brain."""
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        volume = user.volume
        await user.put("f", b"1")
        await volume.sync()
        await fail_over(volume)
        await user.put("g", b"2")
        await follow_again(volume)
        await user.put("late", b"only the one that fails now has this")
        await fail_over(volume)
        assert volume.pair.primary.path == ground.config.primary
        await user.put("h", b"3")
        user.forget_all()
        assert await volume.upkeep.look_for_secondary()
        await volume.sync()
        assert volume.pair.secondary.state is LegState.IN_SYNC
    _assert_both_are_known_equal(ground, Role.PRIMARY)
    kept = [path.name for path in (ground.secondary / ".twinfs/quarantine").rglob("*") if path.is_file()]
    assert "late" in kept


async def test_after_taking_over_so_both_start_together(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    await taken_over_twice(ground)
    again = ground.open()
    assert again.pair.primary.path == ground.config.primary
    await again.sync()
    await again.close()
    _assert_both_are_known_equal(ground, Role.PRIMARY)


async def test_one_that_was_used_alone_after_it_was_taken_over_from_is_refused(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    await taken_over_twice(ground)
    hidden = tmp_path / "hidden"
    ground.primary.rename(hidden)
    ground.primary.mkdir()
    alone = Volume.open(ground.config, tmp_path / "elsewhere", degraded=True, is_forced=True)
    await User(alone).put("g", b"2")
    abandon(alone)
    ground.primary.rmdir()
    hidden.rename(ground.primary)
    with pytest.raises(TwinfsError, match="each leg was changed without the other"):
        ground.open()


async def test_a_promotion_leaves_nobody_who_says_that_it_was_alone(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        volume = user.volume
        await fail_over(volume)
        await user.put("f", b"1")
        user.forget_all()
        await follow_again(volume)
        await volume.roles.promote()
        first, second = _labels(ground)
        assert (first.is_alone, second.is_alone) == (False, False)
    _assert_both_are_known_equal(ground, Role.PRIMARY)


def _labels(ground: Ground) -> tuple[label.Label, label.Label]:
    first = label.read(Role.PRIMARY, ground.config.primary)
    second = label.read(Role.SECONDARY, ground.config.secondary)
    assert first is not None and second is not None
    return first, second


def _assert_both_are_known_equal(ground: Ground, primary: Role) -> None:
    ground.assert_equal()
    first, second = _labels(ground)
    assert (first.is_alone, second.is_alone) == (False, False)
    assert first.events == second.events
    assert (first.role is Role.PRIMARY) == (primary is Role.PRIMARY)


@pytest.mark.parametrize("before", (1, 60, 126, 254))
async def test_roles_may_change_any_number_of_times_in_one_mount(tmp_path: Path, before: int) -> None:
    """A number has 63 bits, of which the highest are other things', and belongs to one object."""
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        nodes = user.volume.core.nodes
        kept = await user.put("kept", b"0")
        await user.volume.roles.promote()
        nodes._era = before
        seen: dict[int, str] = {kept.ident: "kept"}
        for turn in range(5):
            await user.volume.roles.promote()
            node = await user.put(f"f{turn}", b"%d" % turn)
            assert 0 < node.ident < FIRST_VIRTUAL
            assert seen.setdefault(node.ident, f"f{turn}") == f"f{turn}"
            assert user.lookup(f"f{turn}") is node and user.lookup("kept") is kept
            status = user.volume.attributes.stat(node)
            assert nodes.standing_for(status.st_dev, status.st_ino) is node
        user.forget_all()
    ground.assert_equal()


async def test_a_leg_that_a_batch_is_still_copying_to_is_not_called_in_sync(tmp_path: Path) -> None:
    async with running(new_ground(tmp_path, Mode.SYNC)) as user:
        node = await user.put("f", b"1")
        user.volume.core.copying.add(node.ident)
        status = user.volume.status(pid=1, mountpoint="/mnt")
        assert status.legs[1].state is LegState.STALE
        user.volume.core.copying.discard(node.ident)
