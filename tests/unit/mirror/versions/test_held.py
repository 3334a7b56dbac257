"""The brake holds deletions, and versions keep what is deleted once they are allowed."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from support.tree import differences, snapshot
from twinfs.errors import DeletionsHeldError
from twinfs.journal.records import Rename
from twinfs.mirror.brake import HeldError
from twinfs.mirror.stale import StaleMark
from twinfs.mirror.versions.history import History
from twinfs.mirror.versions.keeper import Keeper
from twinfs.mirror.versions.records import Made, Moved
from twinfs.mirror.versions.window import Window
from twinfs.model import Mode
from unit.mirror.kit import KEEP_SECONDS, Ground, Pair, new_ground, running
from unit.mirror.versions.past_of import as_of
from unit.mirror.versions.test_past import objects, settle

NAMES = [f"file{number}" for number in range(10)]


async def test_what_is_held_is_no_version_and_what_is_allowed_comes_back(tmp_path: Path) -> None:
    made = new_ground(tmp_path, Mode.BATCHED, keep=KEEP_SECONDS)
    ground = Ground(tmp_path, replace(made.config, max_delete_percent=50.0))
    async with running(ground) as user:
        for name in NAMES:
            await user.put(name, name.encode())
        moment = await settle(user)
        before = snapshot(ground.secondary)
        for name in NAMES:
            await user.unlink(name)
        with pytest.raises(DeletionsHeldError):
            await user.volume.sync()
        assert objects(ground) == []
        assert differences(before, snapshot(ground.secondary)) == []
        await user.volume.sync(allow_deletes=True)
        assert len(objects(ground)) == len(NAMES)
        assert differences(before, as_of(ground, moment, tmp_path / "restored")) == []
    ground.assert_equal()


@pytest.mark.parametrize(
    ("error", "is_torn"), [(HeldError("too many"), False), (OSError(errno.ENOSPC, "full"), True)]
)
async def test_what_the_brake_held_was_not_begun(tmp_path: Path, error: OSError, is_torn: bool) -> None:
    async with running(new_ground(tmp_path, Mode.SYNC, keep=KEEP_SECONDS)) as user:
        mark = StaleMark(1, is_behind=False)
        user.volume.core.fell_behind(mark, error)
        assert (mark.is_behind, mark.is_torn) == (True, is_torn)


def test_a_directory_made_on_the_way_of_a_rename_is_a_record(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    (pair.secondary / "f").write_bytes(b"content")
    pair.applier.keeper = Keeper.on(pair.secondary_fd, Window(KEEP_SECONDS))
    pair.applier.is_suspect = lambda path: True
    assert pair.applier.apply(1, Rename(b"f", b"new/f", is_exchange=False, ino=0)) == ()
    found = list(History([pair.secondary_fd]).newest_first(0))
    assert [type(past.record) for past in found] == [Moved, Made]
    pair.applier.close()
    os.close(pair.secondary_fd)
