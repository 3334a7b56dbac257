"""Which leg answers a read that both could answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinfs.mirror import reads
from twinfs.mirror.meter import PRIMARY, SECONDARY
from twinfs.model import Mode, ReadPolicy
from unit.mirror.kit import running
from unit.mirror.reading import MIB, OURS, THEIRS, answer, ground_in, make_them_differ, prefer, put

pytestmark = pytest.mark.usefixtures("nothing_is_cached_nor_in_a_hurry")


async def test_what_is_in_sync_is_read_from_the_leg_that_is_sooner(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        for leg, wanted in ((SECONDARY, THEIRS), (PRIMARY, OURS)):
            prefer(user, leg)
            assert await answer(user, node) == wanted
            assert await answer(user, node, 10, 100) == wanted[10:]
            assert await answer(user, node, 16, 100) == b""
        user.volume.content.release(node)


async def test_while_the_legs_are_known_to_differ_the_secondary_is_not_asked(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        user.volume.content.reads.has_mismatches = True
        assert await answer(user, node) == OURS
        user.volume.content.reads.has_mismatches = False
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


@pytest.mark.parametrize(("others", "leg"), ((0, PRIMARY), (1, SECONDARY)))
async def test_a_lone_sequential_reader_stays_whatever_of_its_own_is_waiting(
    tmp_path: Path, others: int, leg: int
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        shared = user.volume.content.reads
        assert await answer(user, node) == OURS
        assert node.file is not None and node.file.sides is not None
        sides = node.file.sides
        request = reads.Request(node, node.file, sides, 16, 16)
        sides.asked(PRIMARY, 16, is_seek=False)
        for _ in range(5):
            shared.meters[PRIMARY].begin(16, is_seek=False)
        sides.waiting_on_primary = 5
        for _ in range(others):
            shared.meters[PRIMARY].begin(16, is_seek=True)
        assert shared._sooner(request) == leg
        sides.waiting_on_primary = 0
        user.volume.content.release(node)


async def test_what_the_primary_has_read_ahead_leaves_its_reader_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user, bytes(16 * MIB))
        shared = user.volume.content.reads
        await answer(user, node, 0, MIB)
        assert node.file is not None and node.file.sides is not None
        with monkeypatch.context() as cached:
            cached.setattr(reads, "is_cached", lambda fd, offset, size: True)
            for offset in range(MIB, 9 * MIB, MIB):
                await answer(user, node, offset, MIB)
        assert not node.file.sides.is_seek(PRIMARY, 9 * MIB)
        request = reads.Request(node, node.file, node.file.sides, 9 * MIB, MIB)
        assert shared._sooner(request) == PRIMARY
        user.volume.content.release(node)


async def test_who_reads_here_and_there_finds_the_secondary_open_soon(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user, bytes(8 * MIB))
        assert node.file is not None
        prefer(user, PRIMARY)
        await answer(user, node)
        assert node.file.sides is not None and node.file.sides.second is None
        await answer(user, node, 4 * MIB)
        assert node.file.sides.second is not None
        user.volume.content.release(node)


async def test_with_the_policy_primary_the_secondary_is_not_asked(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC, ReadPolicy.PRIMARY)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        assert await answer(user, node) == OURS
        user.volume.content.release(node)
