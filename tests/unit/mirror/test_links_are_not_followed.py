"""What is asked of a symbolic link is never done to what it points at: that may be anybody's file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from twinfs.mirror.attributes import Wanted
from twinfs.model import Mode
from unit.mirror.kit import new_ground, running


@pytest.mark.parametrize("mode", list(Mode))
async def test_the_mode_of_a_link_is_refused(tmp_path: Path, mode: Mode) -> None:
    """As kernels from 6.6 on do themselves; see fchmodat2(2). Earlier ones ask us."""
    ground = new_ground(tmp_path, mode)
    outside = tmp_path / "shadow"
    outside.touch(0o600)
    async with running(ground) as user:
        await user.symlink("link", os.fsencode(outside))
        with pytest.raises(OSError) as refused:
            await user.change("link", Wanted(mode=0o4777))
        assert refused.value.errno == errno.EOPNOTSUPP
        await user.change("link", Wanted(mtime_ns=10**18))
    assert outside.stat().st_mode & 0o7777 == 0o600
    assert (ground.secondary / "link").lstat().st_mtime_ns == 10**18
    ground.assert_equal()
