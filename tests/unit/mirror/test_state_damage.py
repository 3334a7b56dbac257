"""The state store is lost or damaged while changes are pending: noticed, said, and answered by comparing.

What is pending is made so that doing it a second time, or only a part of it, would do harm.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from support.machine import run
from support.tree import differences, snapshot
from twinfs.fsio.syscalls import RENAME_EXCHANGE
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, abandon, new_ground

_START_BYTES = 16


async def leave_much_pending(ground: Ground) -> None:
    """Names that change places, a file written in place, one of many names; none has reached the secondary
    in batched mode, all have in sync mode, where the marks are left."""
    volume = ground.open()
    user = User(volume)
    for name in ("a", "b", "c"):
        await user.put(name, name.encode() * 1000)
    await user.mkdir("dir")
    await volume.sync()
    await user.rename("a", "x")
    await user.rename("b", "a")
    await user.rename("x", "b")
    await user.put("dir/new", b"new" * 500)
    await user.rename("dir", "c", RENAME_EXCHANGE)
    await user.write("a", 100, b"written in place")
    await user.link("b", "twin")
    await user.unlink("b")
    abandon(volume)


@pytest.fixture(params=list(Mode))
def left(request: pytest.FixtureRequest, memory: Path) -> Ground:
    """A volume whose daemon was killed."""
    ground = new_ground(memory / "original", request.param)
    trio.run(leave_much_pending, ground)
    return ground


def copy_of(ground: Ground, to: Path) -> Ground:
    """The legs and the state, with their times and hard links."""
    if to.exists():
        shutil.rmtree(to)
    run("cp", "-a", ground.base, to)
    places = {"primary": str(to / "primary"), "secondary": str(to / "secondary")}
    return Ground(to, replace(ground.config, **places))


def log_of(ground: Ground) -> Path:
    return ground.state / "pair" / "intent.log"


def recover_from(damaged: Ground) -> tuple[list[str], list[str]]:
    """(what was said, what was wrong). No user's file changes at the start, and all are equal at the end."""
    said: list[str] = []
    wrong: list[str] = []
    primary, secondary = snapshot(damaged.primary), snapshot(damaged.secondary)

    async def main() -> None:
        volume = damaged.open()
        volume.on_event = lambda kind, message: said.append(f"{kind}: {message}")
        if volume.core.compares:
            if volume.core.pending or volume.core.stale:
                wrong.append("something is to be done before the comparison")
            wrong.extend(differences(secondary, snapshot(damaged.secondary)))
        async with trio.open_nursery() as nursery:
            await nursery.start(volume.run)
            await volume.sync()
            nursery.cancel_scope.cancel()
        await volume.close()

    trio.run(main)
    wrong.extend(f"primary changed: {line}" for line in differences(primary, snapshot(damaged.primary)))
    wrong.extend(damaged.differences())
    return said, wrong


def assert_noticed_and_mended(ground: Ground, spoil: Callable[[Path], object], what: str, base: Path) -> None:
    damaged = copy_of(ground, base / "damaged")
    spoil(log_of(damaged))
    said, wrong = recover_from(damaged)
    assert not wrong, f"{what}: {wrong}"
    assert any("comparing everything" in line for line in said), f"{what}: nobody was told"


def boundaries(data: bytes) -> list[int]:
    """Where the log's records begin and end."""
    found = [_START_BYTES]
    while found[-1] < len(data):
        (length,) = struct.unpack_from("<I", data, found[-1])
        found.append(found[-1] + 8 + length)
    return found


def test_cut_off_anywhere_it_is_noticed(left: Ground, memory: Path) -> None:
    data = log_of(left).read_bytes()
    ends = boundaries(data)
    assert len(ends) > 12
    places = {0, 5, _START_BYTES, *ends[:-1], *(end + 3 for end in ends[:-1]), len(data) - 1}
    for place in sorted(places):
        cut = data[:place]
        assert_noticed_and_mended(
            left, lambda log, cut=cut: log.write_bytes(cut), f"cut at {place} of {len(data)}", memory
        )


def test_bytes_that_were_flipped_are_noticed(left: Ground, memory: Path) -> None:
    data = log_of(left).read_bytes()
    rng = random.Random(7)
    places = [*range(0, _START_BYTES, 5), *rng.sample(range(_START_BYTES, len(data)), 25), len(data) - 1]
    for place in places:
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << rng.randrange(8)
        assert_noticed_and_mended(
            left, lambda log, spoilt=spoilt: log.write_bytes(spoilt), f"flipped at {place}", memory
        )


@pytest.mark.parametrize("damage", ["deleted", "empty", "random", "zeros", "all of the state deleted"])
def test_lost_as_a_whole_it_is_noticed(left: Ground, memory: Path, damage: str) -> None:
    size = log_of(left).stat().st_size

    def spoil(log: Path) -> None:
        match damage:
            case "deleted":
                log.unlink()
            case "all of the state deleted":
                shutil.rmtree(log.parent)
            case "empty":
                log.write_bytes(b"")
            case "random":
                log.write_bytes(random.Random(7).randbytes(size))
            case _:
                log.write_bytes(bytes(size))

    assert_noticed_and_mended(left, spoil, damage, memory)


def test_another_volume_s_or_an_earlier_one_is_noticed(left: Ground, memory: Path) -> None:
    other = new_ground(memory / "other", left.config.mode)
    trio.run(leave_much_pending, other)
    earlier = log_of(left).read_bytes()
    assert_noticed_and_mended(left, lambda log: shutil.copy(log_of(other), log), "another's", memory)
    later = copy_of(left, memory / "later")

    async def go_on() -> None:
        volume = later.open()
        user = User(volume)
        await volume.sync()
        await user.rename("a", "y")
        await user.put("a", b"another one")
        abandon(volume)

    trio.run(go_on)
    assert_noticed_and_mended(later, lambda log: log.write_bytes(earlier), "an earlier one", memory)
