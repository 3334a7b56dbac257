"""A new file is opened on the secondary as it is made there; what is written reaches it, or its successor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twinfs.mirror.applier import Applier
from twinfs.mirror.attributes import Wanted
from twinfs.mirror.nodes import Node
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, new_ground, running


@pytest.fixture
def sync_ground(tmp_path: Path) -> Ground:
    return new_ground(tmp_path, Mode.SYNC)


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
        sync_ground.assert_equal()


async def test_what_stood_there_on_the_secondary_alone_is_not_written_to(sync_ground: Ground) -> None:
    """It is compared and replaced, which a descriptor of it would not notice."""
    async with running(sync_ground) as user:
        (sync_ground.secondary / "new").write_bytes(b"somebody's, there alone")
        node = await user.create("new")
        await write_and_close(user, node, b"content")
        await user.volume.sync()
        assert (sync_ground.secondary / "new").read_bytes() == b"content"
        sync_ground.assert_equal()


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
        sync_ground.assert_equal()


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
        sync_ground.assert_equal()


async def test_one_that_is_given_up_while_the_file_is_made_leaves_no_descriptor_of_itself(
    sync_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(sync_ground) as user:
        core = user.volume.core
        plain = Applier.open_for_writing

        def fail_meanwhile(applier: Applier, path: bytes) -> int:
            fd = plain(applier, path)
            core.doubts += 1  # as a comparison that was asked for in that moment
            return fd

        monkeypatch.setattr(Applier, "open_for_writing", fail_meanwhile)
        node = await user.create("new")
        assert second_of(node) == -1
        monkeypatch.undo()
        await write_and_close(user, node, b"content")
    sync_ground.assert_equal()


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
        sync_ground.assert_equal()


async def test_descriptors_of_many_closed_files_do_not_pile_up(sync_ground: Ground) -> None:
    async with running(sync_ground) as user:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(400):
            await user.put(f"{number:03}", b"x")
            assert len(os.listdir("/proc/self/fd")) < before + 200
