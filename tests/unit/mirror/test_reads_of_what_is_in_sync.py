"""The secondary is read where it is in sync for the object, and nowhere else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from twinfs.mirror import attaching
from twinfs.mirror.meter import PRIMARY, SECONDARY
from twinfs.mirror.nodes import Node
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, running
from unit.mirror.reading import OURS, THEIRS, answer, ground_in, make_them_differ, prefer, put

pytestmark = pytest.mark.usefixtures("nothing_is_cached_nor_in_a_hurry")

Trouble = Callable[[User, Node, Ground], object]


def _other_times(user: User, node: Node, ground: Ground) -> None:
    os.utime(ground.secondary / "f", (1, 1))


def _other_size(user: User, node: Node, ground: Ground) -> None:
    make_them_differ(ground, content=THEIRS + b"!")


def _gone(user: User, node: Node, ground: Ground) -> None:
    (ground.secondary / "f").unlink()


def _a_fifo(user: User, node: Node, ground: Ground) -> None:
    (ground.secondary / "f").unlink()
    os.mkfifo(ground.secondary / "f")


def _marked(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.mark(node, 0, 1)


def _copied(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.copying.add(node.ident)


def _held(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.holds[node.ident] = trio.Event()


def _suspect(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.compare_later(b"f")


def _detached(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.let_go_of_secondary()


def _asleep(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.sleeps, user.volume.core.mode = True, Mode.BATCHED


def _unproven(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.on_secondary_now(b"f")


@pytest.mark.parametrize("is_open_there", (True, False))
@pytest.mark.parametrize("trouble", (_marked, _copied, _held, _suspect, _detached, _asleep, _unproven))
async def test_what_is_not_known_to_be_in_sync_is_read_from_the_primary(
    tmp_path: Path, trouble: Trouble, is_open_there: bool
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        if is_open_there:
            assert await answer(user, node) == THEIRS
        trouble(user, node, ground)
        assert await answer(user, node) == OURS
        user.volume.core.copying.clear()
        user.volume.core.holds.clear()
        user.volume.content.release(node)


@pytest.mark.parametrize("trouble", (_other_times, _other_size, _gone, _a_fifo))
async def test_a_file_that_does_not_look_like_the_primarys_is_not_read(
    tmp_path: Path, trouble: Trouble
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        trouble(user, node, ground)
        assert await answer(user, node) == OURS
        assert await answer(user, node) == OURS
        user.volume.content.release(node)


async def test_a_pending_change_of_names_keeps_it_from_being_opened_by_name(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        node = await put(user)
        await user.put("other", OURS)
        await user.volume.sync()
        make_them_differ(ground)
        make_them_differ(ground, "other", b"of another file!")
        prefer(user, SECONDARY)
        await user.rename("f", "g")
        await user.rename("other", "f")
        assert await answer(user, node) == OURS
        await user.volume.sync()
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


async def test_what_is_open_there_follows_its_object_through_renames(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        assert await answer(user, node) == THEIRS
        await user.rename("f", "g")
        await user.put("f", b"another, newer..")
        assert await answer(user, node) == THEIRS
        await user.volume.sync()
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


async def test_a_removed_file_that_is_open_is_the_primarys(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        assert await answer(user, node) == THEIRS
        await user.unlink("f")
        await user.volume.content.write(node, 0, b"NEWS")
        assert await answer(user, node) == b"NEWS" + OURS[4:]
        user.volume.content.release(node)


async def test_a_file_that_a_copy_has_replaced_is_opened_anew(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        node = await put(user)
        prefer(user, SECONDARY)
        assert await answer(user, node) == OURS
        await user.volume.content.write(node, 0, b"NEWS")
        assert await answer(user, node) == b"NEWS" + OURS[4:]
        await user.volume.sync()
        make_them_differ(ground)
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


async def test_what_a_comparison_has_replaced_is_opened_anew(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        assert await answer(user, node) == THEIRS
        user.volume.core.compare_later(b"", 1)
        await user.volume.sync()
        assert (ground.secondary / "f").read_bytes() == OURS
        assert await answer(user, node) == OURS
        user.volume.content.release(node)


async def test_what_is_excluded_is_read_from_the_primary(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC, exclude=("f",))
    async with running(ground) as user:
        node = await put(user)
        (ground.secondary / "f").write_bytes(THEIRS)
        os.utime(ground.secondary / "f", ns=(0, (ground.primary / "f").stat().st_mtime_ns))
        prefer(user, SECONDARY)
        assert await answer(user, node) == OURS
        user.volume.content.release(node)


async def test_after_a_change_of_roles_the_other_leg_is_the_secondary(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        prefer(user, SECONDARY)
        assert await answer(user, node) == OURS
        await user.volume.roles.promote()
        make_them_differ(ground)
        assert await answer(user, node) == OURS
        prefer(user, PRIMARY)
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


async def test_what_the_disk_may_have_lost_is_read_there_again_when_it_is_durable(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        core = user.volume.core
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        for place in (b"f", b""):
            core.on_secondary_now(place)
            assert await answer(user, node) == OURS
            await core.make_secondary_durable()
            assert await answer(user, node) == THEIRS
        core.on_secondary_now(b"g", b"f/g", b"fg")
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


async def test_what_becomes_durable_just_now_is_the_primarys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        core = user.volume.core
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        core.on_secondary_now(b"f")
        is_over = threading.Event()
        monkeypatch.setattr(attaching, "syncfs", lambda fd: is_over.wait())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(core.make_secondary_durable)
            await trio.testing.wait_all_tasks_blocked()
            meanwhile = await answer(user, node)
            is_over.set()
        assert meanwhile == OURS
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)
