"""An owner or a mode that is set to what it is: nothing for the secondary to do, and nothing missed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from support.tree import assert_same
from twinfs.mirror.attributes import Wanted
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, new_ground, running


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return new_ground(tmp_path, Mode.SYNC)


ME = os.geteuid(), os.getegid()
SAME = [Wanted(uid=ME[0], gid=ME[1]), Wanted(uid=ME[0]), Wanted(gid=ME[1]), Wanted(mode=0o100644)]


async def settled(user: User) -> None:
    """No mark is left."""
    await user.volume.sync()
    assert not user.volume.core.stale


@pytest.mark.parametrize("wanted", SAME)
async def test_it_is_done_and_marks_nothing(ground: Ground, wanted: Wanted) -> None:
    async with running(ground) as user:
        await user.put("file", b"content")
        await settled(user)
        os.utime(ground.primary / "file", ns=(0, 0))
        os.utime(ground.secondary / "file", ns=(0, 0))
        before = (ground.primary / "file").stat(), (ground.secondary / "file").stat()
        await user.change("file", wanted)
        assert not user.volume.core.stale
        assert (ground.secondary / "file").stat() == before[1]
        after = (ground.primary / "file").stat()
        assert after.st_ctime_ns >= before[0].st_ctime_ns
        assert (after.st_mode, after.st_uid, after.st_gid) == (stat.S_IFREG | 0o644, *ME)


@pytest.mark.parametrize(
    "wanted", [Wanted(mode=0o600), Wanted(uid=ME[0], mode=0o600), Wanted(mode=0o644, mtime_ns=10**18)]
)
async def test_what_is_another_reaches_both(ground: Ground, wanted: Wanted) -> None:
    async with running(ground) as user:
        await user.put("file", b"content")
        await settled(user)
        await user.change("file", wanted)
        assert user.volume.core.stale
        assert_same(ground.primary, ground.secondary, ignore=frozenset({"dir_mtime"}))
        assert stat.S_IMODE((ground.secondary / "file").stat().st_mode) == wanted.mode


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away, and capabilities, are root's")
class TestAsRoot:
    async def test_another_owner_reaches_both(self, ground: Ground) -> None:
        async with running(ground) as user:
            await user.put("file", b"content")
            await settled(user)
            await user.change("file", Wanted(uid=1234))
            await user.change("file", Wanted(gid=2345))
            assert (ground.secondary / "file").stat().st_uid == 1234
            assert (ground.secondary / "file").stat().st_gid == 2345

    async def test_set_id_bits_that_chown_takes_are_taken_from_both(self, ground: Ground) -> None:
        async with running(ground) as user:
            await user.put("file", b"content")
            await user.change("file", Wanted(mode=0o4755))
            await settled(user)
            await user.change("file", Wanted(uid=ME[0]))
            assert (ground.primary / "file").stat().st_mode & stat.S_ISUID == 0
            assert_same(ground.primary, ground.secondary, ignore=frozenset({"dir_mtime"}))

    async def test_a_capability_that_chown_takes_is_taken_from_both(self, ground: Ground) -> None:
        async with running(ground) as user:
            await user.put("file", b"content")
            # cap_net_raw+ep, struct vfs_cap_data of revision 2 in linux/capability.h
            capability = bytes.fromhex("0100000200200000000000000000000000000000")
            try:
                await user.set_xattr("file", b"security.capability", capability)
            except OSError:
                pytest.skip("no capabilities on this file system")
            await settled(user)
            assert os.listxattr(ground.secondary / "file") == ["security.capability"]
            await user.change("file", Wanted(uid=ME[0]))
            assert os.listxattr(ground.primary / "file") == []
            assert os.listxattr(ground.secondary / "file") == []
