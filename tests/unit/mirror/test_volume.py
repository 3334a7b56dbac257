"""A volume without a mount: what is on which leg, when, in both modes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from twinfs.errors import LegError
from twinfs.journal.records import NameChange
from twinfs.mirror.applier import Applier
from twinfs.mirror.volume import Volume
from twinfs.model import LegState, Mode, VolumeState
from unit.mirror import scripts
from unit.mirror.killing import Script, furnished_ground
from unit.mirror.kit import Ground, User, new_ground, running


def rsync_differences(ground: Ground) -> str:
    if shutil.which("rsync") is None:
        return ""
    command = ["rsync", "-aHAXnic", "--delete", "--exclude=/.twinfs"]
    done = subprocess.run(
        [*command, f"{ground.primary}/", f"{ground.secondary}/"], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.__name__)
async def test_after_a_clean_end_rsync_finds_nothing_to_do(memory: Path, mode: Mode, script: Script) -> None:
    ground = furnished_ground(memory, mode)
    async with running(ground) as user:
        await script(user)
    assert rsync_differences(ground) == ""
    ground.assert_equal()
    status = Volume.offline_status(ground.config, ground.state)
    assert status.state is VolumeState.CLEAN and status.pending.changes == 0


async def test_in_sync_mode_the_secondary_has_it_when_the_caller_is_answered(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    second = ground.secondary
    async with running(ground) as user:
        await user.put("f", b"content")
        assert (second / "f").read_bytes() == b"content"
        await user.mkdir("d")
        await user.rename("f", "d/g")
        assert (second / "d" / "g").read_bytes() == b"content"
        await user.write("d/g", 3, b"XX")
        assert (second / "d" / "g").read_bytes() == b"conXXnt"
        await user.truncate("d/g", 2)
        assert (second / "d" / "g").read_bytes() == b"co"
        await user.set_xattr("d/g", b"user.a", b"1")
        assert os.getxattr(second / "d" / "g", "user.a") == b"1"
        await user.link("d/g", "h")
        assert (second / "h").samefile(second / "d" / "g")
        await user.unlink("d/g")
        await user.rmdir("d")
        assert sorted(path.name for path in second.iterdir()) == [".twinfs", "h"]
    ground.assert_equal()


async def test_in_batched_mode_the_secondary_waits_for_the_batch(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        await user.put("f", b"content")
        await user.mkdir("d")
        assert [path.name for path in ground.secondary.iterdir()] == [".twinfs"]
        pending = user.volume.pending()
        assert pending.changes == 3 and pending.bytes == 7 and pending.lag_seconds >= 0
        assert user.volume.status(pid=None, mountpoint=None).state is VolumeState.DIRTY
        await user.volume.sync()
        assert user.volume.pending().changes == 0
        assert user.volume.status(pid=None, mountpoint=None).state is VolumeState.CLEAN
        ground.assert_equal()


async def test_a_rename_of_a_directory_moves_no_data(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        await user.mkdir("d")
        await user.put("d/f", b"x" * 100_000)
        await user.volume.sync()
        inode = (ground.secondary / "d" / "f").stat().st_ino
        await user.rename("d", "e")
        await user.volume.sync()
        assert (ground.secondary / "e" / "f").stat().st_ino == inode


async def test_batches_run_by_themselves(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user, trio.open_nursery() as nursery:
        await nursery.start(user.volume.run)
        await user.volume.set_mode(Mode.BATCHED, 0.02, None)
        await user.put("f", b"content")
        for _ in range(1000):
            await trio.sleep(0.02)
            if user.volume.status(pid=None, mountpoint=None).state is VolumeState.CLEAN:
                break
        ground.assert_equal()
        nursery.cancel_scope.cancel()


async def test_going_to_sync_mode_drains_first(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        await user.put("f", b"content")
        await user.volume.set_mode(Mode.SYNC, None, None)
        ground.assert_equal()
        await user.put("g", b"at once")
        assert (ground.secondary / "g").read_bytes() == b"at once"


async def test_a_refusal_of_the_primary_is_the_answer_and_touches_neither_leg(ground: Ground) -> None:
    async with running(ground) as user:
        await user.mkdir("d")
        await user.put("d/f", b"x")
        await user.volume.sync()
        attempts = [
            (user.mkdir("d"), errno.EEXIST),
            (user.rmdir("d"), errno.ENOTEMPTY),
            (user.unlink("d"), errno.EISDIR),
            (user.rename("d", "d/e"), errno.EINVAL),
            (user.rename("d/f", "d"), errno.ENOTEMPTY),
            (user.rename("absent", "x"), errno.ENOENT),
            (user.link("d", "e"), errno.EPERM),
            (user.create("n" * 256), errno.ENAMETOOLONG),
            (user.mkdir(".twinfs"), errno.EPERM),
            (user.rename("d", ".twinfs"), errno.EPERM),
            (user.unlink(".twinfs"), errno.ENOENT),
        ]
        for attempt, code in attempts:
            with pytest.raises(OSError) as caught:
                await attempt
            assert caught.value.errno in (code, errno.EISDIR), (caught.value, code)
        assert user.volume.pending().changes == 0
        with pytest.raises(FileNotFoundError):
            user.lookup(".twinfs")
    ground.assert_equal()


async def test_a_secondary_that_fails_is_not_the_callers_problem_and_catches_up(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(applier: Applier, number: int, change: NameChange, new: object) -> tuple[bytes, ...]:
        raise OSError(errno.EIO, "a dying disk")

    async with running(ground) as user:
        events: list[str] = []
        user.volume.on_event = lambda kind, message: events.append(kind)
        with monkeypatch.context() as patch:
            patch.setattr(Applier, "apply", fail)
            await user.put("f", b"content")
            await user.mkdir("d")
            await user.rename("f", "d/f")
            with pytest.raises(LegError, match="secondary leg"):
                await user.volume.sync()
            status = user.volume.status(pid=None, mountpoint=None)
            assert status.state is VolumeState.DEGRADED
            assert status.legs[1].state is LegState.FAULTY
            assert status.action is not None and str(ground.secondary) in status.action
            assert await user.read("d/f") == b"content"
        assert "secondary_failed" in events
        await user.volume.sync()
        ground.assert_equal()


async def test_a_log_without_room_refuses_before_anything_changes(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "the state disk is full")

    async with running(ground) as user:
        await user.put("f", b"content")
        await user.volume.sync()
        with monkeypatch.context() as patch:
            patch.setattr(user.volume.core.log, "_write", full)
            for attempt in (user.mkdir("d"), user.write("f", 0, b"X"), user.unlink("f")):
                with pytest.raises(OSError) as caught:
                    await attempt
                assert caught.value.errno == errno.ENOSPC
        assert (ground.primary / "f").read_bytes() == b"content"
        assert not (ground.primary / "d").exists()
        await user.mkdir("d")
    ground.assert_equal()


async def test_what_is_open_and_removed_can_still_be_read_and_written(ground: Ground) -> None:
    async with running(ground) as user:
        node = await user.create("f")
        content = user.volume.content
        await content.write(node, 0, b"still here")
        await user.unlink("f")
        await content.write(node, 5, b"HERE!")
        assert bytes(await content.read(node, 0, 100)) == b"stillHERE!"
        await content.fsync(node, is_data_only=False)
        content.release(node)
    ground.assert_equal()


async def test_fsync_works_in_both_modes_on_files_and_directories(ground: Ground) -> None:
    async with running(ground) as user:
        node = await user.create("f")
        await user.volume.content.write(node, 0, b"x" * 200_000)
        await user.volume.content.fsync(node, is_data_only=True)
        await user.volume.attributes.fsync_directory(user.lookup(""))
        user.volume.content.release(node)


async def test_many_at_once_end_with_equal_legs(ground: Ground) -> None:
    async def work(user: User, name: str) -> None:
        await user.mkdir(name)
        for index in range(12):
            await user.put(f"{name}/t", bytes([index]) * 5000 * index)
            await user.rename(f"{name}/t", f"{name}/{index % 4}")
            await user.write(f"{name}/{index % 4}", 100, b"w" * 100_000)
            await trio.lowlevel.checkpoint()

    async with running(ground) as user, trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(work, user, name)
        for _ in range(5):
            await user.volume.sync()
            await trio.sleep(0.005)
    ground.assert_equal()


async def test_in_the_end_only_the_root_is_known_and_no_descriptor_is_left(ground: Ground) -> None:
    async with running(ground) as user:
        pass  # threads and libraries are loaded now
    before = sorted(os.listdir("/proc/self/fd"))
    volume = ground.open()
    user = User(volume)
    for script in (scripts.write_new, scripts.move_new):
        await script(user)
    await volume.sync()
    user.forget_all()
    assert len(volume.core.nodes) == 1
    assert volume.core.nodes.root.refs == 1
    await volume.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)


async def test_excluded_files_live_on_the_primary_only(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC, exclude=("*.tmp",))
    async with running(ground) as user:
        await user.put("a.tmp", b"scratch")
        await user.put("b", b"kept")
        await user.write("a.tmp", 0, b"S")
        await user.volume.sync()
        assert not (ground.secondary / "a.tmp").exists()
        await user.rename("a.tmp", "a")
        await user.rename("b", "b.tmp")
        await user.volume.sync()
        assert (ground.secondary / "a").read_bytes() == b"Scratch"
        assert sorted(path.name for path in ground.secondary.iterdir()) == [".twinfs", "a"]


async def test_space_is_what_both_legs_have(ground: Ground) -> None:
    async with running(ground) as user:
        space = await user.volume.attributes.space()
        assert 0 < space.f_bavail <= os.statvfs(ground.primary).f_blocks


async def test_a_number_is_not_used_again_while_the_kernel_remembers_the_removed(ground: Ground) -> None:
    """It may still have that file's times to flush, and says only the number."""
    async with running(ground) as user:
        for path in ("gone", "replaced"):
            await user.put(path, b"x")
        await user.put("other", b"y")
        numbers = {(ground.primary / path).stat().st_ino for path in ("gone", "replaced")}
        await user.unlink("gone")
        await user.rename("other", "replaced")
        for attempt in range(20):
            node = await user.put(f"new{attempt}", b"z")
            assert node.ident not in numbers
            assert (ground.primary / f"new{attempt}").stat().st_ino not in numbers
        user.forget_all()
