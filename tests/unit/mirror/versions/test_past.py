"""Changes are undone: the tree of a moment is what it was, whatever happened since."""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from pathlib import Path

import pytest

from support.tree import differences, snapshot
from twinfs.fsio.syscalls import RENAME_EXCHANGE
from twinfs.mirror.versions.history import History
from twinfs.mirror.versions.records import Moved
from twinfs.model import Mode
from unit.mirror.kit import KEEP_SECONDS, Ground, User, abandon, new_ground, running
from unit.mirror.versions.past_of import as_of


@pytest.fixture(params=list(Mode))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return new_ground(tmp_path, request.param, keep=KEEP_SECONDS)


async def settle(user: User) -> int:
    """Everything is on the secondary; returns the moment."""
    await user.volume.sync()
    moment = time.time_ns()
    while time.time_ns() // 1000 == moment // 1000:
        time.sleep(0.0001)
    return moment


def objects(ground: Ground) -> list[Path]:
    found = (ground.secondary / ".twinfs/versions").glob("*/[0-9]*")
    return sorted(path for path in found if not stat.S_ISDIR(path.lstat().st_mode))


async def test_a_deleted_file_is_kept_as_itself(kept: Ground) -> None:
    async with running(kept) as user:
        await user.put("f", b"content")
        await user.volume.sync()
        inode = (kept.secondary / "f").stat().st_ino
        await user.unlink("f")
        await user.volume.sync()
        [version] = objects(kept)
        assert (version.read_bytes(), version.stat().st_ino) == (b"content", inode)
    kept.assert_equal()


async def test_what_a_rename_replaces_is_kept(kept: Ground) -> None:
    async with running(kept) as user:
        await user.put("f", b"old")
        await user.put("new", b"new")
        moment = await settle(user)
        await user.rename("new", "f")
        await user.volume.sync()
        assert [version.read_bytes() for version in objects(kept)] == [b"old"]
        then = as_of(kept, moment, kept.base / "out")
        assert sorted(then) == [b".", b"f", b"new"]
    kept.assert_equal()


async def test_truncated_content_is_kept(kept: Ground) -> None:
    async with running(kept) as user:
        await user.put("f", b"long content")
        moment = await settle(user)
        before = snapshot(kept.primary)
        await user.truncate("f", 4)
        await user.truncate("f", 0)
        await user.write("f", 0, b"other")
        await user.volume.sync()
        assert differences(before, as_of(kept, moment, kept.base / "out")) == []
        assert await user.read("f") == b"other"
    kept.assert_equal()


async def test_names_of_one_file_come_back_as_names_of_one_file(kept: Ground) -> None:
    async with running(kept) as user:
        await user.put("a", b"content")
        await user.mkdir("d")
        await user.link("a", "d/b")
        await user.link("a", "c")
        await user.put("t", b"of three")
        await user.link("t", "t2")
        moment = await settle(user)
        before = snapshot(kept.primary)
        for name in ("a", "d/b", "c", "t"):
            await user.unlink(name)
        await user.rmdir("d")
        await user.put("u", b"another, which may get the number of the inode")
        await user.volume.sync()
        assert len(objects(kept)) == 1, "the last name alone"
        assert differences(before, as_of(kept, moment, kept.base / "out")) == []
    kept.assert_equal()


async def test_a_hard_linked_file_that_is_truncated_comes_back_under_all_names(kept: Ground) -> None:
    async with running(kept) as user:
        await user.put("a", b"content of both")
        await user.link("a", "b")
        moment = await settle(user)
        before = snapshot(kept.primary)
        await user.truncate("a", 3)
        await user.volume.sync()
        await user.unlink("b")
        await user.volume.sync()
        assert differences(before, as_of(kept, moment, kept.base / "out")) == []
    kept.assert_equal()


async def test_directories_that_moved_are_where_they_were(kept: Ground) -> None:
    async with running(kept) as user:
        await user.mkdir("a")
        await user.mkdir("a/sub", 0o750)
        await user.put("a/sub/f", b"f")
        await user.mkdir("b")
        await user.put("b/g", b"g")
        moment = await settle(user)
        before = snapshot(kept.primary)
        await user.rename("a", "b", RENAME_EXCHANGE)
        await user.rename("b/sub", "a/moved")
        await user.unlink("a/moved/f")
        await user.rmdir("a/moved")
        await user.rename("a", "z")
        await user.put("a", b"a file now")
        await user.volume.sync()
        assert differences(before, as_of(kept, moment, kept.base / "out")) == []
    kept.assert_equal()


async def _do_something(user: User, rng: random.Random) -> None:
    names = ["a", "b", "d", "d/a", "d/b", "e", "e/a"]
    one, other = rng.sample(names, 2)
    actions = [
        lambda: user.put(one, rng.randbytes(rng.randrange(5000))),
        lambda: user.put(one, rng.randbytes(rng.randrange(5000))),
        lambda: user.mkdir(one),
        lambda: user.mkdir(one),
        lambda: user.unlink(one),
        lambda: user.rmdir(one),
        lambda: user.rename(one, other),
        lambda: user.rename(one, other),
        lambda: user.rename(one, other, RENAME_EXCHANGE),
        lambda: user.link(one, other),
        lambda: user.symlink(one, b"target"),
    ]
    try:
        await rng.choice(actions)()
    except OSError:
        return


@pytest.mark.parametrize("seed", range(4))
async def test_every_moment_of_a_random_life_can_be_had_again(
    kept: Ground, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinfs.mirror.versions.bounds.APART_SECONDS", 0.0)
    rng = random.Random(seed)
    moments = []
    async with running(kept) as user:
        for _ in range(12):
            for _ in range(10):
                await _do_something(user, rng)
            moment = await settle(user)
            moments.append((moment, snapshot(kept.primary)))
        for number, (moment, before) in enumerate(moments):
            assert differences(before, as_of(kept, moment, kept.base / f"out{number}")) == [], number
    kept.assert_equal()


async def test_nothing_is_kept_unless_the_settings_say_so(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"content")
        await user.unlink("f")
    assert not (ground.secondary / ".twinfs/versions").exists()


async def test_in_batches_names_are_dated_by_when_they_were_changed(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED, keep=KEEP_SECONDS)
    async with running(ground) as user:
        await user.put("f", b"content")
        before = await settle(user)
        await user.unlink("f")
        after = time.time_ns()
        await user.put("g", b"later, in the same batch")
        await user.volume.sync()
        assert b"f" in as_of(ground, before, tmp_path / "before")
        assert b"f" not in as_of(ground, after, tmp_path / "after")


async def test_what_a_failed_write_left_half_done_is_no_version(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC, keep=KEEP_SECONDS)
    async with running(ground) as user:
        names = ("deleted", "written")
        for name in names:
            await user.put(name, b"whole")
        await user.volume.sync()
        for name in names:
            node = user.lookup(name)
            await user.write(name, 1, b"x")
            assert node.stale is not None
            user.volume.core.fell_behind(node.stale, OSError(errno.EDQUOT, "no room for this file"))
        await user.unlink("deleted")
        await user.volume.sync()
        assert objects(ground) == []
        await user.unlink("written")
        await user.volume.sync()
        assert [version.read_bytes() for version in objects(ground)] == [b"wxole"]
    ground.assert_equal()


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("how", ["unlink", "replace"])
async def test_what_a_dying_leg_has_half_of_is_no_version_though_the_file_goes_before_it_is_back(
    tmp_path: Path, how: str, is_killed: bool
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC, keep=KEEP_SECONDS)
    volume = ground.open()
    await volume.sync()
    user = User(volume)
    await user.put("f", b"whole")
    await volume.sync()
    await user.write("f", 1, b"x")
    mark = user.lookup("f").stale
    assert mark is not None
    volume.core.fell_behind(mark, OSError(errno.EIO, os.strerror(errno.EIO)))
    if how == "unlink":
        await user.unlink("f")
    else:
        await user.put("new", b"new")
        await user.rename("new", "f")
    if is_killed:
        abandon(volume)
        volume = ground.open()
    await volume.sync()
    assert objects(ground) == []
    await volume.close()
    ground.assert_equal()


async def test_a_change_that_the_secondary_refuses_leaves_no_trace_in_the_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC, keep=KEEP_SECONDS)
    async with running(ground) as user:
        await user.put("f", b"old")
        await user.put("new", b"new")
        await user.volume.sync()
        plain_rename = os.rename

        def refuse(*arguments: object, **named: object) -> None:
            if arguments[:2] == (b"new", b"f") and named["dst_dir_fd"] in applier._directories.values():
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            plain_rename(*arguments, **named)  # type: ignore[arg-type]

        applier = user.volume.core.applier
        monkeypatch.setattr(os, "rename", refuse)
        await user.rename("new", "f")
        assert (ground.secondary / "f").stat().st_nlink == 1
        assert objects(ground) == []
        monkeypatch.undo()
        await user.volume.sync()
    ground.assert_equal()


async def test_a_clock_that_was_set_back_does_not_mix_up_the_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC, keep=KEEP_SECONDS)
    plain = time.time_ns
    async with running(ground) as user:
        await user.put("f", b"first")
        await user.rename("f", "g")
    monkeypatch.setattr(time, "time_ns", lambda: plain() - 3600 * 10**9)
    async with running(ground) as user:
        await user.rename("g", "h")
    monkeypatch.undo()
    roots = [os.open(ground.secondary, os.O_RDONLY)]
    names = [past.record.path for past in History(roots).changes if isinstance(past.record, Moved)]
    os.close(roots[0])
    assert names == [b"g", b"h"]
