"""A rebuild, or a copy to a new disk, while people work."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.tree import assert_same
from twinfs.errors import LegError, LegInUseError
from twinfs.mirror import label, rescue
from twinfs.mirror.volume import Volume
from twinfs.model import Action, Mode, Order, Role, VolumeConfig
from unit.mirror.kit import Ground, User, abandon, new_ground, running

REBUILD = Order(Action.REBUILD)


def before_each_sync(volume: Volume, work: Callable[[int], Awaitable[object]]) -> None:
    """`work` is told how many there were before."""
    sync, calls = volume.sync, iter(range(1000))

    async def sync_and_work(*arguments: Any) -> None:
        await work(next(calls))
        await sync(*arguments)

    volume.sync = sync_and_work  # type: ignore[method-assign]


async def rebuild(volume: Volume) -> object:
    return await volume.recover(REBUILD, False, lambda progress: None, lambda role, path: None)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "_BUSY_PAUSES_SECONDS", (0.0,) * 4)


async def test_what_is_written_to_during_a_rebuild_is_looked_at_again(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        for name in ("busy", "moved", "quiet"):
            await user.put(name, bytes(1000))

        async def move_once(turn: int) -> None:
            if turn < 3:
                await user.write("moved", 0, os.urandom(10))
            if turn == 3:
                await user.rename("moved", "elsewhere")
            if turn < 6:
                await user.write("busy", 0, os.urandom(10))

        before_each_sync(user.volume, move_once)
        assert "0 files differed" in str(await rebuild(user.volume))
        assert await user.read("quiet") == bytes(1000)
    ground.assert_equal()


async def test_what_is_written_to_all_the_while_is_named_with_what_to_do(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        names = [f"busy{number}" for number in range(8)]
        for name in names:
            await user.put(name, bytes(1000))

        async def work(turn: int) -> None:
            for name in names:
                await user.write(name, 0, os.urandom(10))

        before_each_sync(user.volume, work)
        with pytest.raises(LegError) as refusal:
            await rebuild(user.volume)
        assert "all is equal but 8 files written to at every look: busy" in str(refusal.value)
        assert "and 3 more" in str(refusal.value)
        assert "twinfs sync pair" in str(refusal.value)
    ground.assert_equal()


async def test_a_disk_that_keeps_nothing_is_told_from_that(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("rotten", bytes(1000))
        await user.volume.sync()

        async def rot(turn: int) -> None:
            path = ground.secondary / "rotten"
            status = path.stat()
            path.write_bytes(b"x" * 1000)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

        before_each_sync(user.volume, rot)
        with pytest.raises(LegError, match=r"3 times, in 1 file: rotten.\n  The disk does not keep"):
            await rebuild(user.volume)
        del user.volume.sync
        await rebuild(user.volume)
    ground.assert_equal()


async def test_what_is_moved_to_where_a_new_disk_has_no_folder_yet_is_not_left_behind(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        for folder in ("from", "to", "to/deep"):
            await user.mkdir(folder)
        await user.put("from/f", b"1")
        await user.mkdir("from/tree")
        await user.put("from/tree/g", b"2")
        await user.volume.sync()
        # As a new disk that has been copied in part.
        shutil.rmtree(ground.secondary / "to")
        user.volume.core.applier.forget(b"to")
        user.volume.core.compare_later(b"")
        await user.rename("from/f", "to/deep/f")
        await user.rename("from/tree", "to/tree")
        inode = (ground.secondary / "from/tree/g").stat().st_ino
        await user.volume.sync()
        ground.assert_equal()
        assert (ground.secondary / "to/tree/g").stat().st_ino == inode, "copied once more"
        assert not os.listdir(ground.secondary / ".twinfs/quarantine")


async def test_what_a_killed_copy_to_a_new_disk_left_half_made_is_nobodys_only_copy(tmp_path: Path) -> None:
    """The primary is replaced: its successor's log is of a role change, which makes the next start keep
    whatever differs on the other leg. On a new disk that can only be a beginning."""
    ground = new_ground(tmp_path, Mode.SYNC)
    new = tmp_path / "new"
    new.mkdir()
    volume = ground.open()
    user = User(volume)
    await volume.sync()
    for name in ("one", "two"):
        await user.put(name, name.encode() * 1000)
    user.forget_all()

    async def be_killed(turn: int) -> None:
        if turn == 1:
            assert await volume.upkeep.look_for_secondary()
            (new / "one").touch()
            raise KilledError

    before_each_sync(volume, be_killed)
    order = Order(Action.REPLACE, "primary", str(new), is_forced=True)
    with pytest.raises(KilledError):
        await volume.recover(order, False, lambda progress: None, lambda role, path: None)
    abandon(volume)
    replaced = Ground(tmp_path, replace(ground.config, primary=str(new)))
    async with running(replaced):
        assert volume.pair.primary.path == str(ground.secondary)
    assert os.listdir(new / ".twinfs/quarantine") == []
    replaced.assert_equal()


async def replaced_by(user: User, new: Path, leg: str = "secondary") -> str:
    order = Order(Action.REPLACE, leg, str(new), is_forced=True, is_adopting=True)
    return str(await user.volume.recover(order, False, lambda progress: None, lambda role, path: None))


def quarantined(leg: Path) -> dict[str, bytes]:
    folder = leg / ".twinfs/quarantine"
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/**/*") if path.is_file()
    }


async def lose_the_label(user: User, ground: Ground) -> None:
    """As rsync --delete from the mounted volume does."""
    shutil.rmtree(ground.secondary / ".twinfs")
    with pytest.raises(OSError, match="its label is gone"):
        await user.volume.pair.secondary.check(user.volume.core)
    user.volume.core.secondary_failed(OSError(errno.ENODEV, "its label is gone"))


@pytest.mark.parametrize("mode", Mode)
async def test_a_leg_that_lost_its_label_is_taken_back_as_it_is(tmp_path: Path, mode: Mode) -> None:
    ground = new_ground(tmp_path, mode)
    async with running(ground) as user:
        for name in ("same", "changed", "goes"):
            await user.put(name, name.encode())
        await user.volume.sync()
        inode = (ground.secondary / "same").stat().st_ino
        await lose_the_label(user, ground)
        assert not await user.volume.upkeep.look_for_secondary()
        assert not await user.volume.upkeep.look_for_secondary()
        assert "--adopt" in user.volume.pair.secondary.problem
        await user.write("changed", 0, b"anew")
        await user.put("new", b"1")
        await user.unlink("goes")
        assert "both legs are equal" in await replaced_by(user, ground.secondary)
        assert (ground.secondary / "same").stat().st_ino == inode, "copied once more"
        ground.assert_equal()
    assert set(quarantined(ground.secondary).values()) == {b"changed", b"goes"}


async def test_what_waits_for_the_old_disk_is_not_done_to_files_that_are_adopted(tmp_path: Path) -> None:
    """They are a copy of another day: a deletion meant other content."""
    ground = new_ground(tmp_path, Mode.BATCHED)
    other = tmp_path / "other"
    other.mkdir()
    async with running(ground) as user:
        for name in ("a", "b"):
            await user.put(name, b"1")
        await user.volume.sync()
        for name in ("a", "b", "c"):
            (other / name).write_text(f"precious {name}")
        await user.unlink("a")
        await user.rename("b", "c")
        await replaced_by(user, other)
        assert set(quarantined(other).values()) == {b"precious a", b"precious b", b"precious c"}
        assert (other / "c").read_bytes() == b"1"


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("leg", Role)
async def test_an_adoption_that_is_killed_loses_nothing_either(tmp_path: Path, leg: Role, turn: int) -> None:
    """Before anything is compared, or in between; with the primary's role as well as without."""
    ground = new_ground(tmp_path, Mode.SYNC)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("precious")
    (other / "one").write_text("older")
    volume = ground.open()
    user = User(volume)
    await volume.sync()
    await user.put("one", b"newer")
    user.forget_all()
    # The primary is promoted first, and all is brought up to date before.
    begin = 1 if leg is Role.PRIMARY else 0

    async def be_killed(number: int) -> None:
        if number == begin + turn:
            raise KilledError

    before_each_sync(volume, be_killed)
    with pytest.raises(KilledError):
        await replaced_by(user, other, leg)
    abandon(volume)
    adopted = Ground(tmp_path, with_leg(ground.config, leg, other))
    async with running(adopted):
        pass
    adopted.assert_equal()
    assert set(quarantined(other).values()) == {b"precious", b"older"}


def with_leg(config: VolumeConfig, leg: Role, path: Path) -> VolumeConfig:
    return replace(config, primary=str(path)) if leg is Role.PRIMARY else replace(config, secondary=str(path))


async def test_what_is_removed_while_the_comparison_is_on_its_way_is_kept(tmp_path: Path) -> None:
    """People remove what the primary has; what the adopted leg has there is something else."""
    ground = new_ground(tmp_path, Mode.BATCHED)
    other = tmp_path / "other"
    async with running(ground) as user:
        for folder in ("cut", "deep", "over"):
            await user.mkdir(folder)
            await user.put(f"{folder}/f", b"1")
            (other / folder).mkdir(parents=True)
            (other / folder / "f").write_text(f"precious {folder}")
        await user.put("over/g", b"2")
        (other / "over/g").write_text("moved")
        await user.volume.sync()

        async def work(turn: int) -> None:
            if turn == 0:
                assert await user.volume.upkeep.look_for_secondary()
                await user.unlink("cut/f")
                await user.rmdir("cut")
                await user.unlink("deep/f")
                await user.rename("over/g", "over/f")

        before_each_sync(user.volume, work)
        await replaced_by(user, other)
        assert_same(ground.primary, other)
    expected = {b"precious cut", b"precious deep", b"precious over", b"moved"}
    assert set(quarantined(other).values()) == expected


async def test_an_adoption_that_was_cut_short_is_not_taken_for_a_new_disk(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("precious")
    async with running(ground) as user:
        label.write_new(str(other), ground.config, Role.SECONDARY, has_files=True)
        order = Order(Action.REPLACE, "secondary", str(other), is_forced=True)
        for is_dry_run in (True, False):
            with pytest.raises(LegInUseError, match="--adopt"):
                await user.volume.recover(order, is_dry_run, lambda progress: None, lambda role, path: None)
        assert user.volume.core.is_secondary_up
        await replaced_by(user, other)
    assert set(quarantined(other).values()) == {b"precious"}


async def test_what_is_excluded_is_not_deleted_where_it_is_adopted(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC, exclude=("*.tmp", "cache/"))
    ground = Ground(tmp_path, replace(ground.config, delete_excluded=True))
    other = tmp_path / "other"
    (other / "cache").mkdir(parents=True)
    (other / "cache/c").write_text("of another")
    (other / "junk.tmp").write_text("of a third")
    async with running(ground) as user:
        await replaced_by(user, other)
    assert set(quarantined(other).values()) == {b"of another", b"of a third"}


@pytest.mark.parametrize(
    "name", [".twinfs", ".twinfs/tmp", ".twinfs/quarantine", ".twinfs/versions", ".twinfs/label.json"]
)
@pytest.mark.parametrize("is_link", [True, False])
async def test_nothing_is_written_through_what_stands_in_the_way(
    tmp_path: Path, name: str, is_link: bool
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    other, elsewhere = tmp_path / "other", tmp_path / "elsewhere"
    (other / name).parent.mkdir(parents=True)
    elsewhere.mkdir()
    if is_link:
        (other / name).symlink_to(elsewhere)
    elif name.endswith("json"):
        (other / name).mkdir()
    else:
        (other / name).touch()
    async with running(ground) as user:
        with pytest.raises(LegInUseError, match="move it away"):
            await replaced_by(user, other)
        assert user.volume.core.is_secondary_up
        assert os.listdir(elsewhere) == []


async def test_two_legs_are_not_replaced_at_once(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    other, third = tmp_path / "other", tmp_path / "third"
    other.mkdir()
    third.mkdir()
    async with running(ground) as user:

        async def replace_again(turn: int) -> None:
            if turn == 0:
                with pytest.raises(LegError, match="being replaced already"):
                    await replaced_by(user, third)

        before_each_sync(user.volume, replace_again)
        assert "is adopted" in await replaced_by(user, other)
        assert os.listdir(third) == []


async def test_what_would_be_adopted_is_surveyed_and_not_touched(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    other = tmp_path / "other"
    other.mkdir()
    async with running(ground) as user:
        await user.put("one", b"1")
        (other / "extra").write_text("x")
        order = Order(Action.REPLACE, "secondary", str(other), is_forced=True, is_adopting=True)
        found = await user.volume.recover(order, True, lambda progress: None, lambda role, path: None)
        assert (found.missing, found.extra) == (1, 1)
        assert sorted(os.listdir(other)) == ["extra"]
        with pytest.raises(LegInUseError, match="--adopt"):
            await user.volume.recover(
                replace(order, is_adopting=False), False, lambda progress: None, lambda role, path: None
            )


class KilledError(Exception):
    """In a test."""
