"""A new file is opened on the secondary as it is made there; what is written reaches it, or its successor."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from support.tree import assert_same
from twinfs.mirror import content
from twinfs.mirror.applier import Applier
from twinfs.mirror.attributes import Wanted
from twinfs.mirror.newfile import NewFile
from twinfs.mirror.nodes import Node
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, new_ground, running


@pytest.fixture
def sync_ground(tmp_path: Path) -> Ground:
    return new_ground(tmp_path, Mode.SYNC)


def assert_equal_but_for_folders(ground: Ground) -> None:
    """Their times reach the secondary a moment later, and differ where a tick of the clock came between."""
    assert_same(ground.primary, ground.secondary, ignore=frozenset({"dir_mtime"}))


def open_at(leg: Path) -> list[str]:
    """What this process has open there."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(str(leg))]


def second_of(node: Node) -> int:
    assert node.file is not None
    return node.file.secondary_fd


async def write_and_close(user: User, node: Node, data: bytes) -> None:
    await user.volume.content.write(node, 0, data)
    user.volume.content.release(node)


async def test_its_first_write_finds_it_open(sync_ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(sync_ground) as user:
        node = await user.create("new")
        assert os.readlink(f"/proc/self/fd/{second_of(node)}") == str(sync_ground.secondary / "new")
        asked: list[bytes] = []
        monkeypatch.setattr(Applier, "locate", lambda applier, path: asked.append(path))
        await write_and_close(user, node, b"content")
        assert asked == []
        monkeypatch.undo()
        assert (sync_ground.secondary / "new").read_bytes() == b"content"


async def test_in_batched_mode_the_secondary_is_left_alone(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        node = await user.create("new")
        assert second_of(node) == -1
        assert not (ground.secondary / "new").exists()
        await write_and_close(user, node, b"content")


async def test_renamed_and_replaced_before_the_first_write(sync_ground: Ground) -> None:
    async with running(sync_ground) as user:
        await user.mkdir("folder")
        node = await user.create("new")
        await user.rename("new", "folder/moved")
        other = await user.put("new", b"another file under the old name")
        await write_and_close(user, node, b"content")
        assert (sync_ground.secondary / "folder/moved").read_bytes() == b"content"
        assert (sync_ground.secondary / "new").read_bytes() == b"another file under the old name"
        assert other is not node
        assert_equal_but_for_folders(sync_ground)


async def test_what_stood_there_on_the_secondary_alone_is_not_written_to(sync_ground: Ground) -> None:
    """It is compared and replaced, which a descriptor of it would not notice."""
    async with running(sync_ground) as user:
        (sync_ground.secondary / "new").write_bytes(b"somebody's, there alone")
        node = await user.create("new")
        await write_and_close(user, node, b"content")
        await user.volume.sync()
        assert (sync_ground.secondary / "new").read_bytes() == b"content"
        assert_equal_but_for_folders(sync_ground)


async def test_a_comparison_between_making_and_writing_closes_it(sync_ground: Ground) -> None:
    async with running(sync_ground) as user:
        node = await user.create("new")
        assert second_of(node) >= 0
        # So that the comparison has another file to put there.
        (sync_ground.secondary / "new").unlink()
        user.volume.core.compare_later(b"")
        await user.volume.sync()
        await write_and_close(user, node, b"content")
        await user.volume.sync()
        assert (sync_ground.secondary / "new").read_bytes() == b"content"
        assert_equal_but_for_folders(sync_ground)


async def test_a_secondary_that_goes_before_the_first_write_gets_it_later(
    sync_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(sync_ground) as user:
        node = await user.create("new")
        user.volume.core.secondary_failed(OSError(5, "a dying disk"))
        assert second_of(node) == -1
        await write_and_close(user, node, b"content")
        await user.volume.sync()
        assert (sync_ground.secondary / "new").read_bytes() == b"content"
        assert_equal_but_for_folders(sync_ground)


async def test_a_comparison_that_is_asked_for_while_it_is_made_has_it_opened_later(
    sync_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(sync_ground) as user:
        core, plain = user.volume.core, NewFile.opened

        def doubt_meanwhile(new: NewFile, fd: int) -> None:
            core.doubts += 1
            plain(new, fd)

        monkeypatch.setattr(NewFile, "opened", doubt_meanwhile)
        node = await user.create("new")
        assert second_of(node) == -1
        monkeypatch.undo()
        await write_and_close(user, node, b"content")
        assert_equal_but_for_folders(sync_ground)


@pytest.mark.parametrize("is_handed_over", [False, True])
async def test_a_disk_that_is_given_up_in_that_moment_keeps_no_descriptor_open(
    sync_ground: Ground, monkeypatch: pytest.MonkeyPatch, is_handed_over: bool
) -> None:
    """The lane's thread is at it, and nobody waits any more for what it brings."""
    async with running(sync_ground) as user:
        core, plain = user.volume.core, NewFile.hand_over
        old, inside, go_on = core.attachment, threading.Event(), threading.Event()

        def hang(new: NewFile) -> None:
            if is_handed_over:
                plain(new)
            inside.set()
            go_on.wait(10)
            plain(new)

        async def give_up() -> None:
            while not inside.is_set():  # noqa: ASYNC110 - what a thread does
                await trio.sleep(0.001)
            core.secondary_failed(OSError(errno.ETIMEDOUT, "it hangs"))

        monkeypatch.setattr(NewFile, "hand_over", hang)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            node = await user.create("new")
        assert second_of(node) == -1
        assert str(sync_ground.secondary / "new") in open_at(sync_ground.secondary)
        go_on.set()
        with trio.fail_after(10):
            while not old.has_come_back():  # noqa: ASYNC110 - what a thread does
                await trio.sleep(0.005)
        assert str(sync_ground.secondary / "new") not in open_at(sync_ground.secondary)
        monkeypatch.undo()
        await write_and_close(user, node, b"content")
        await user.volume.sync()
        assert_equal_but_for_folders(sync_ground)


async def test_one_that_is_let_go_when_all_calls_have_come_back_is_closed(sync_ground: Ground) -> None:
    async with running(sync_ground) as user:
        core = user.volume.core
        old, late = core.attachment, os.open(sync_ground.secondary, os.O_RDONLY)
        core.secondary_failed(OSError(errno.ETIMEDOUT, "it hangs"))
        with trio.fail_after(10):
            while not old.has_come_back():  # noqa: ASYNC110 - what a thread does
                await trio.sleep(0.005)
            old.close_later(late)
            while open_at(sync_ground.secondary):  # noqa: ASYNC110 - what a thread does
                await trio.sleep(0.005)


async def test_times_end_as_they_were_set_last_whoever_reaches_the_secondary_last(
    sync_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first waits for a comparison elsewhere, and comes to the secondary after the second."""
    async with running(sync_ground) as user:
        await user.put("file", b"content")
        compared, waiting = trio.Event(), [True]

        async def wait_for_comparison() -> None:
            if waiting:
                waiting.clear()
                await compared.wait()

        monkeypatch.setattr(user.volume.core, "wait_for_comparison", wait_for_comparison)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user.change, "file", Wanted(mtime_ns=10**18))
            await trio.testing.wait_all_tasks_blocked(0.01)
            await user.change("file", Wanted(mtime_ns=2 * 10**18))
            compared.set()
        assert (sync_ground.primary / "file").stat().st_mtime_ns == 2 * 10**18
        assert_equal_but_for_folders(sync_ground)


@pytest.mark.parametrize("wanted", [Wanted(mtime_ns=10**18), Wanted(mtime_ns=10**18, mode=0o600)])
async def test_a_write_does_not_put_back_the_times_that_are_set_meanwhile(
    sync_ground: Ground, monkeypatch: pytest.MonkeyPatch, wanted: Wanted
) -> None:
    """On the secondary another thread writes, and puts the times back to what they were before."""
    async with running(sync_ground) as user:
        node = await user.create("file")
        second = second_of(node)
        writing, times_are_set = threading.Event(), threading.Event()
        write_all, set_times = content._pwrite_all, os.utime

        def write(fd: int, data: bytes, offset: int) -> int:
            if fd == second:
                writing.set()
                times_are_set.wait(1)
            return write_all(fd, data, offset)

        def utime(*args: Any, **kwargs: Any) -> None:
            is_lane = threading.current_thread().name == "secondary"
            if is_lane:
                writing.wait(0.3)
            set_times(*args, **kwargs)
            if is_lane:
                times_are_set.set()

        monkeypatch.setattr(content, "_pwrite_all", write)
        monkeypatch.setattr(os, "utime", utime)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user.change, "file", wanted)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await user.volume.content.write(node, 0, b"content")
        monkeypatch.undo()
        user.volume.content.release(node)
        assert_equal_but_for_folders(sync_ground)


async def test_times_that_are_set_are_on_both_legs_at_once(sync_ground: Ground) -> None:
    async with running(sync_ground) as user:
        await user.put("file", b"content")
        await user.symlink("link", b"target")
        await user.mkdir("folder")
        for number, name in enumerate(("file", "link", "folder")):
            times = (10**18 + number, 2 * 10**18 + number)
            await user.change(name, Wanted(atime_ns=times[0], mtime_ns=times[1]))
            status = os.lstat(sync_ground.secondary / name)
            assert (status.st_atime_ns, status.st_mtime_ns) == times
        await user.change("file", Wanted(mtime_ns=5 * 10**17, mode=0o600))
        status = (sync_ground.secondary / "file").stat()
        assert (status.st_mtime_ns, status.st_mode & 0o777) == (5 * 10**17, 0o600)
        assert_equal_but_for_folders(sync_ground)


async def test_descriptors_of_many_closed_files_do_not_pile_up(sync_ground: Ground) -> None:
    async with running(sync_ground) as user:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(400):
            await user.put(f"{number:03}", b"x")
            assert len(os.listdir("/proc/self/fd")) < before + 200
