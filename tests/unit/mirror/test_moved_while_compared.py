"""Directories are renamed while all is compared: nothing is passed over, nothing done over and over."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from twinfs.mirror.compare import Comparer, Place
from twinfs.mirror.rebuild import Rebuild
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, new_ground, running

_OLD_NS = 10**18


async def make_tree(user: User) -> list[str]:
    """Three branches of eight levels, a file in each directory. Returns the directories."""
    found = []
    for branch in "abc":
        for depth in range(1, 9):
            path = "/".join([branch] * depth)
            await user.mkdir(path)
            await user.put(f"{path}/file", b"right")
            found.append(path)
    return found


def spoil(ground: Ground) -> None:
    """Content that differs alone, in every file of the secondary."""
    for leg, data in ((ground.primary, b"right"), (ground.secondary, b"wrong")):
        for path in leg.rglob("file"):
            path.write_bytes(data)
            os.utime(path, ns=(_OLD_NS, _OLD_NS))


async def test_renames_that_waited_for_a_comparison_do_not_multiply_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        directories = await make_tree(user)
        await user.volume.sync()
        spoil(ground)
        step, turns = Rebuild._step, iter(range(100))

        async def moving(self: Rebuild, comparer: Comparer) -> None:
            for turn in turns:
                await user.rename(*(("a", "moved"), ("moved", "a"))[turn % 2])
                await user.rename(*(("b/b/b", "b/b/other"), ("b/b/other", "b/b/b"))[turn % 2])
            await step(self, comparer)

        monkeypatch.setattr(Rebuild, "_step", moving)
        user.volume.core.compare_later(b"", 1)
        listed = 0
        list_both = Comparer.list_both

        def counted(self: Comparer, path: bytes) -> object:
            nonlocal listed
            listed += 1
            return list_both(self, path)

        monkeypatch.setattr(Comparer, "list_both", counted)
        await user.volume.sync()
        assert len(directories) < listed < 3 * len(directories)
    ground.assert_equal()


@pytest.mark.parametrize("seed", range(12))
async def test_what_moves_meanwhile_is_compared_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Each step of the comparison comes after some renames; every file was wrong, whatever way it takes."""
    rng = random.Random(seed)
    ground = new_ground(tmp_path, Mode.BATCHED)  # where nobody waits for the comparison
    async with running(ground) as user:
        await make_tree(user)
        await user.volume.sync()
        spoil(ground)
        step, moves = Rebuild._step, 0

        async def moving(self: Rebuild, comparer: Comparer) -> None:
            nonlocal moves
            for _ in range(rng.randrange(4) if moves < 60 else 0):
                moves += 1
                await move_something(user, ground, rng)
            await step(self, comparer)

        monkeypatch.setattr(Rebuild, "_step", moving)
        user.volume.core.compare_later(b"", 1)
        await user.volume.sync()
        assert moves > 10
    assert {path.read_bytes() for path in ground.secondary.rglob("file")} == {b"right"}
    ground.assert_equal()


async def move_something(user: User, ground: Ground, rng: random.Random) -> None:
    """A directory or a file to a place that is free."""
    known = [path.relative_to(ground.primary) for path in ground.primary.rglob("*")]
    known = [path for path in known if path.parts[0] != ".twinfs"]
    moved = rng.choice(known)
    places = [path for path in known if (ground.primary / path).is_dir() and not path.is_relative_to(moved)]
    target = rng.choice([Path("."), *places]) / f"n{rng.randrange(10**6)}"
    if moved.name == "file":
        target = target.with_name("file")
        if (ground.primary / target).exists():
            return
    await user.rename(str(moved), str(target))


def test_a_place_is_looked_at_once_and_not_where_the_comparison_comes_anyway(pair, monkeypatch) -> None:
    class _Core:
        applier = pair.applier

    rebuild = Rebuild(_Core(), None, None, print, None)  # type: ignore[arg-type]
    rebuild._places = [Place(b"later"), Place(b"single", is_single=True)]
    for path in (
        b"new/deep/er",
        b"new",
        b"later/x",
        b"now/y",
        b"single",
        b"single/z",
        b"later",
        b"new",
        b"/",
    ):
        rebuild._come_in(path)
    rebuild._take_in(Place(b"now"))
    assert [(place.path, place.is_single) for place in rebuild._places[2:]] == [
        (b"new", True),
        (b"later", True),
    ]
    assert {place.path for place in pair.applier.followers} == {b"new", b"later"}
