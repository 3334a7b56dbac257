"""Killed before any system call around keeping and removing: the legs end equal, and the past is whole."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from support.tree import differences, snapshot
from twinfs.fsio.syscalls import RENAME_EXCHANGE
from twinfs.mirror.versions import segments
from twinfs.mirror.versions.records import NOTHING, kept_of
from twinfs.model import Mode
from unit.mirror.killing import Script, die_everywhere, furnish
from unit.mirror.kit import KEEP_SECONDS, Ground, User
from unit.mirror.versions.past_of import as_of

STRIDE = 4


async def delete(user: User) -> None:
    await user.unlink("a")
    await user.unlink("twin")
    await user.unlink("d/twin")
    await user.unlink("d/deep/f")
    await user.rmdir("d/deep")
    await user.unlink("link")


async def replace(user: User) -> None:
    await user.put("b.new", b"B" * 4000)
    await user.rename("b.new", "b")
    await user.rename("twin", "a")
    await user.rename("e", "d/e")
    await user.rename("shared", "d/e")


async def move_and_exchange(user: User) -> None:
    await user.rename("a", "d", RENAME_EXCHANGE)
    await user.rename("a/deep", "e/deep")
    await user.rename("b", "e/deep/f")


async def truncate_and_write_anew(user: User) -> None:
    await user.truncate("a", 0)
    await user.write("a", 0, b"fresh")
    await user.truncate("d/twin", 7)
    await user.unlink("twin")


ALL = (delete, replace, move_and_exchange, truncate_and_write_anew)


class Past:
    """Made before the scripts run: whatever they did, this moment can be had again."""

    def __init__(self, base: Path) -> None:
        self.moment = time.time_ns()
        (base / "furnished").mkdir()
        furnish(base / "furnished")
        self._wanted = snapshot(base / "furnished")

    def check(self, ground: Ground) -> list[str]:
        troubles = half_kept(ground)
        then = as_of(ground, self.moment, ground.base / "out")
        return troubles + [f"the past: {line}" for line in differences(self._wanted, then)]


def half_kept(ground: Ground) -> list[str]:
    """Records whose object is missing, torn, or still has another name, and what is left in between."""
    troubles = [f"left behind: {path}" for path in (ground.secondary / ".twinfs/tmp").iterdir()]
    for directory in sorted((ground.secondary / ".twinfs/versions").glob("*")):
        root_fd = os.open(ground.secondary, os.O_RDONLY | os.O_DIRECTORY)
        found = segments.read(root_fd, os.fsencode(directory.name))
        os.close(root_fd)
        for kept in (kept for record in found.records if (kept := kept_of(record)) is not None):
            if kept.number != NOTHING:
                status = (directory / str(kept.number)).lstat()
                if (status.st_nlink, status.st_size) != (1, kept.size):
                    troubles.append(f"{directory.name}/{kept.number}: {status}, not {kept}")
        numbers = {kept.number for record in found.records if (kept := kept_of(record)) is not None}
        names = {path.name for path in directory.iterdir()} - {"log"}
        troubles += [f"without a record: {name}" for name in names if int(name) not in numbers]
    return troubles


def turn(script: Script, mode: Mode) -> int:
    return 1 + (ALL.index(script) + 2 * list(Mode).index(mode)) % STRIDE


every_script = pytest.mark.parametrize("script", ALL, ids=lambda script: script.__name__)
every_mode = pytest.mark.parametrize("mode", list(Mode))


@every_mode
@every_script
def test_killed_in_passing_nothing_of_the_past_is_lost(memory: Path, mode: Mode, script: Script) -> None:
    past = Past(memory)
    troubles = die_everywhere(
        memory, mode, script, first=turn(script, mode), step=STRIDE, keep=KEEP_SECONDS, check=past.check
    )
    assert not troubles, "\n".join(troubles)


@pytest.mark.slow
@every_mode
@every_script
@pytest.mark.parametrize("is_torn", [False, True], ids=["whole", "torn"])
def test_killed_at_each_system_call_nothing_of_the_past_is_lost(
    memory: Path, mode: Mode, script: Script, is_torn: bool
) -> None:
    past = Past(memory)
    troubles = die_everywhere(memory, mode, script, is_torn=is_torn, keep=KEEP_SECONDS, check=past.check)
    assert not troubles, "\n".join(troubles)
