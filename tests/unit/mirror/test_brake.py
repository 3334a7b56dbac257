"""What would delete too much of the secondary stops before its first deletion, until somebody allows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from twinfs.errors import DeletionsHeldError, LegError
from twinfs.mirror.brake import FEW
from twinfs.mirror.volume import Volume
from twinfs.model import LegState, Mode, Role, VolumeState
from unit.mirror.kit import Ground, User, abandon, new_ground, running


def ground_with(
    base: Path,
    mode: Mode = Mode.BATCHED,
    *,
    percent: float | None = 50.0,
    files: int | None = None,
    exclude: tuple[str, ...] = (),
) -> Ground:
    made = new_ground(base, mode, exclude=exclude)
    return Ground(base, replace(made.config, max_delete_percent=percent, max_delete_files=files))


def names_on(leg: Path) -> list[str]:
    return sorted(path.name for path in leg.iterdir() if path.name != ".twinfs")


async def fill(user: User, count: int) -> list[str]:
    names = [f"file{number:03}" for number in range(count)]
    for name in names:
        await user.put(name, name.encode())
    await user.volume.sync()
    return names


async def unlink(user: User, names: list[str]) -> None:
    for name in names:
        await user.unlink(name)


async def test_a_batch_that_deletes_more_than_half_stops_before_its_first_deletion(tmp_path: Path) -> None:
    ground = ground_with(tmp_path)
    async with running(ground) as user:
        volume, events = user.volume, []
        volume.on_event = lambda kind, message: events.append((kind, message))
        names = await fill(user, 10)
        await user.put("before", b"in the same batch, before the deletions")
        await unlink(user, names[:7])
        for _ in range(3):
            with pytest.raises(DeletionsHeldError, match=r"7 of the secondary's 10 files .*--allow-deletes"):
                await volume.sync()
        await user.put("after", b"waits, too")
        with pytest.raises(DeletionsHeldError):
            await volume.sync()
        assert names_on(ground.secondary) == names
        assert [kind for kind, _ in events] == ["deletions_held"]
        status = volume.status(pid=None, mountpoint=None)
        assert (status.state, status.legs[1].state) == (VolumeState.DIRTY, LegState.STALE)
        assert "twinfs sync pair --allow-deletes" in str(status.action)
        await volume.sync(allow_deletes=True)
        assert volume.status(pid=None, mountpoint=None).action is None
        ground.assert_equal()
        assert names_on(ground.secondary) == ["after", "before", *names[7:]]


async def test_half_of_the_files_and_no_more_may_go(tmp_path: Path) -> None:
    ground = ground_with(tmp_path)
    async with running(ground) as user:
        names = await fill(user, 10)
        await unlink(user, names[:5])
        await user.volume.sync()
        assert names_on(ground.secondary) == names[5:]


async def test_a_number_of_files_is_a_limit_of_its_own(tmp_path: Path) -> None:
    ground = ground_with(tmp_path, percent=None, files=3)
    async with running(ground) as user:
        names = await fill(user, 50)
        await unlink(user, names[:3])
        await user.volume.sync()
        await unlink(user, names[3:7])
        with pytest.raises(DeletionsHeldError, match="4 files would be deleted on the secondary, 3 may be"):
            await user.volume.sync()
        assert names_on(ground.secondary) == names[3:]
        await user.volume.sync(allow_deletes=True)


async def test_without_a_setting_a_few_files_may_always_go(tmp_path: Path) -> None:
    ground = ground_with(tmp_path, percent=None)
    async with running(ground) as user:
        await unlink(user, await fill(user, FEW - 1))
        await user.volume.sync()
        assert names_on(ground.secondary) == []
        names = await fill(user, FEW + 20)
        await unlink(user, names[:FEW])
        with pytest.raises(DeletionsHeldError):
            await user.volume.sync()
        assert names_on(ground.secondary) == names
        await user.volume.sync(allow_deletes=True)


async def test_an_allowed_run_that_was_cut_short_does_not_let_the_next_one_through(tmp_path: Path) -> None:
    ground = ground_with(tmp_path)
    async with running(ground) as user:
        names = await fill(user, 10)
        await unlink(user, names)
        with trio.CancelScope() as scope:
            scope.cancel()
            await user.volume.sync(allow_deletes=True)
        assert scope.cancelled_caught
        with pytest.raises(DeletionsHeldError):
            await user.volume.sync()
        assert names_on(ground.secondary) == names
        await user.volume.sync(allow_deletes=True)
        assert names_on(ground.secondary) == []


async def test_an_allowance_is_not_for_the_next_batch(tmp_path: Path) -> None:
    ground = ground_with(tmp_path)
    async with running(ground) as user:
        names = await fill(user, 10)
        await unlink(user, names)
        await user.volume.sync(allow_deletes=True)
        names = await fill(user, 10)
        await unlink(user, names)
        with pytest.raises(DeletionsHeldError):
            await user.volume.sync()
        assert names_on(ground.secondary) == names
        await user.volume.sync(allow_deletes=True)


async def test_a_batch_by_itself_is_held_and_told_once(tmp_path: Path) -> None:
    ground = ground_with(tmp_path)
    volume = ground.open()
    await volume.sync()
    user, events = User(volume), []
    volume.on_event = lambda kind, message: events.append(kind)
    names = await fill(user, 10)
    await unlink(user, names)
    async with trio.open_nursery() as nursery:
        await nursery.start(volume.run)
        volume.upkeep.wake()
        with trio.fail_after(10):
            while not events:  # noqa: ASYNC110 - a test
                await trio.sleep(0.01)
        volume.upkeep.wake()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert names_on(ground.secondary) == names
        await volume.sync(allow_deletes=True)
        nursery.cancel_scope.cancel()
    assert events == ["deletions_held"]
    await volume.close()
    ground.assert_equal()


@pytest.mark.parametrize("mode", Mode)
async def test_a_kill_keeps_the_brake_on(tmp_path: Path, mode: Mode) -> None:
    """What the log says is a batch for the next start, whatever the mode."""
    ground = ground_with(tmp_path)
    volume = ground.open()
    await volume.sync()
    user = User(volume)
    names = await fill(user, 10)
    await unlink(user, names)
    with pytest.raises(DeletionsHeldError):
        await volume.sync()
    user.forget_all()
    abandon(volume)
    ground = Ground(tmp_path, replace(ground.config, mode=mode))
    volume = ground.open()
    for _ in range(2):
        with pytest.raises(DeletionsHeldError):
            await volume.sync()
    assert names_on(ground.secondary) == names
    await volume.sync(allow_deletes=True)
    await volume.close()
    ground.assert_equal()


async def test_closing_says_what_is_held_and_the_next_start_has_it(tmp_path: Path) -> None:
    ground = ground_with(tmp_path)
    volume = ground.open()
    await volume.sync()
    names = await fill(User(volume), 10)
    await unlink(User(volume), names)
    with pytest.raises(DeletionsHeldError, match="--allow-deletes"):
        await volume.close()
    assert names_on(ground.secondary) == names
    volume = ground.open()
    await volume.sync(allow_deletes=True)
    await volume.close()
    ground.assert_equal()


async def test_resync_of_a_leg_that_was_away_is_held_in_sync_mode_too(tmp_path: Path) -> None:
    ground = ground_with(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        names = await fill(user, 10)
    hidden = tmp_path / "hidden"
    ground.secondary.rename(hidden)
    ground.secondary.mkdir()
    volume = Volume.open(ground.config, ground.state, degraded=True)
    user = User(volume)
    await unlink(user, names[:8])
    ground.secondary.rmdir()
    hidden.rename(ground.secondary)
    with pytest.raises(DeletionsHeldError):
        await volume.sync()
    # People work on: callers get their answers, and the secondary stays as it is.
    with trio.fail_after(5):
        await user.put("new", b"new")
        await user.write(names[9], 0, b"CHANGED")
        await user.mkdir("directory")
        await volume.names.rename(user.place(names[8]), user.place("directory/renamed"), 0)
        await volume.content.fsync_directory(user.lookup(""))
    assert names_on(ground.secondary) == names
    assert (ground.secondary / names[9]).read_bytes() == names[9].encode()
    await volume.sync(allow_deletes=True)
    ground.assert_equal()
    await user.put("at once again", b"in sync mode")
    assert (ground.secondary / "at once again").read_bytes() == b"in sync mode"
    await volume.close()
    ground.assert_equal()


async def test_in_sync_mode_each_deletion_is_somebodys_and_no_batch(tmp_path: Path) -> None:
    ground = ground_with(tmp_path, Mode.SYNC, files=0)
    async with running(ground) as user:
        for name in await fill(user, 10):
            await user.unlink(name)
            assert not (ground.secondary / name).exists()


async def test_what_came_and_went_within_the_batch_is_not_counted(tmp_path: Path) -> None:
    ground = ground_with(tmp_path, files=1)
    async with running(ground) as user:
        names = await fill(user, 4)
        for number in range(20):
            await user.put(f"passing{number}", b"")
            await user.unlink(f"passing{number}")
        await user.unlink(names[0])
        await user.volume.sync()
        assert names_on(ground.secondary) == names[1:]


async def test_other_names_that_come_and_go_within_the_batch_are_not_counted(tmp_path: Path) -> None:
    ground = ground_with(tmp_path, files=1)
    async with running(ground) as user:
        names = await fill(user, 4)
        for number in range(10):
            await user.link(names[0], f"link{number}")
            await user.put(f"new{number}", b"")
            await user.rename(f"new{number}", f"moved{number}")
            await user.link(f"moved{number}", f"other{number}")
            for name in ("link", "moved", "other"):
                await user.unlink(f"{name}{number}")
        await user.unlink(names[3])
        await user.volume.sync()
        assert names_on(ground.secondary) == names[:3]


async def test_renamed_away_to_an_excluded_name_counts_as_all_that_goes(tmp_path: Path) -> None:
    ground = ground_with(tmp_path, exclude=("*.tmp",))
    async with running(ground) as user:
        await user.mkdir("album")
        for number in range(8):
            await user.put(f"album/photo{number}", b"photo")
        await fill(user, 2)
        await user.rename("album", "pictures")
        await user.rename("pictures", "pictures.tmp")
        with pytest.raises(DeletionsHeldError, match="8 of the secondary's 10 files"):
            await user.volume.sync()
        assert len(list((ground.secondary / "album").iterdir())) == 8
        await user.volume.sync(allow_deletes=True)
        assert names_on(ground.secondary) == ["file000", "file001"]


async def test_roles_do_not_change_on_request_while_the_brake_holds(tmp_path: Path) -> None:
    ground = ground_with(tmp_path)
    async with running(ground) as user:
        names = await fill(user, 10)
        await unlink(user, names)
        with pytest.raises(LegError, match="--allow-deletes"):
            await user.volume.roles.promote()
        assert names_on(ground.secondary) == names
        await user.volume.sync(allow_deletes=True)


async def test_a_role_that_passes_on_leaves_behind_what_was_held_and_lists_it(tmp_path: Path) -> None:
    ground = ground_with(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        names = await fill(user, 10)
    hidden = tmp_path / "hidden"
    ground.secondary.rename(hidden)
    ground.secondary.mkdir()
    volume = Volume.open(ground.config, ground.state, degraded=True)
    user = User(volume)
    await unlink(user, names)
    ground.secondary.rmdir()
    hidden.rename(ground.secondary)
    with pytest.raises(DeletionsHeldError):
        await volume.sync()
    await volume.roles._fail_over()
    status = volume.status(pid=None, mountpoint=None)
    assert set(names) <= set(status.unreached)
    assert [leg.path for leg in status.legs if leg.role is Role.PRIMARY] == [str(ground.secondary)]
    assert names_on(ground.secondary) == names
    user.forget_all()
    assert await User(volume).read(names[0]) == names[0].encode()
    await volume.close(is_draining=False)
