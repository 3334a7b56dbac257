"""What the primary cannot read is answered by a secondary whose disk is known to have it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from twinfs.mirror import attaching
from twinfs.model import Mode
from unit.mirror.kit import User, running
from unit.mirror.reading import THEIRS, ground_in, make_them_differ, put


def _cleared(user: User) -> None:
    user.volume.core.on_secondary_now(b"f")


def _written(user: User) -> None:
    """To both legs, and not left alone for long enough yet."""
    user.volume.core.mark(user.lookup("f"), 0, 1, is_direct=True)


@pytest.mark.parametrize("lately", (_cleared, _written))
@pytest.mark.parametrize("is_lost", (False, True))
async def test_what_was_written_lately_is_made_durable_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lately: object, is_lost: bool
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        core = user.volume.core
        node = await put(user)
        make_them_differ(ground)
        calls = []

        def syncfs(fd: int) -> None:
            calls.append(fd)
            if is_lost:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        assert callable(lately)
        lately(user)
        with monkeypatch.context() as disk:
            disk.setattr(attaching, "syncfs", syncfs)
            data = await user.volume.content.mender.read(node, 0, len(THEIRS))
        assert (data, len(calls)) == (None if is_lost else THEIRS, 1)
        assert core.is_secondary_up is not is_lost
        user.volume.content.release(node)
