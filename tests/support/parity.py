"""The same calls on a plain directory and on the volume: results, errnos and the trees left behind are equal.

A case is a function of a directory that returns what it observed:

    @parity
    def test_open_with_o_excl_on_an_existing_file(root: Path) -> object:
        (root / "file").touch()
        return outcome(os.open, root / "file", os.O_CREAT | os.O_EXCL)
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import tree
from support.machine import is_mounted
from support.volume import Volume

Case = Callable[[Path], Any]

# A directory's change is finished on the secondary at once, but its time may be set a moment later.
_LEGS_AT_ONCE = frozenset({"dir_mtime"})
# Two runs of a case happen at different times; what a case sets itself lies in the past.
_TWO_RUNS = frozenset({"old_only"})


class Pair:
    """A fresh plain directory and a fresh directory of the volume, with the same name."""

    def __init__(self, volume: Volume, plain_base: Path, name: str) -> None:
        self.twins = volume
        self.name = name
        self.plain = plain_base / name
        self.volume = volume.mount / name
        if not is_mounted(volume.mount):
            raise AssertionError(f"{volume.mount} is not mounted any more: an earlier test ended the daemon")
        for directory in (self.plain, self.volume):
            directory.mkdir()
            directory.chmod(0o777)  # cases act as other users, too

    def check(self, case: Case, *, compare_trees: bool = True) -> None:
        expected = case(self.plain)
        assert expected is not None, "a case returns what it saw, or it cannot fail"
        seen = case(self.volume)
        assert seen == expected
        if compare_trees:
            self.assert_trees_same()

    def assert_trees_same(self) -> None:
        tree.assert_same(self.plain, self.volume, ignore=_TWO_RUNS)
        primary, secondary = self.twins.primary / self.name, self.twins.secondary / self.name
        tree.assert_same(self.plain, primary, ignore=_TWO_RUNS)
        if self.twins.mode == "sync":
            tree.assert_same(primary, secondary, ignore=_LEGS_AT_ONCE)

    def remove(self) -> None:
        """Take both directories away, for what neither rsync nor another case should meet."""
        for directory in (self.plain, self.volume):
            shutil.rmtree(directory)


def parity(case: Case) -> Callable[[Pair], None]:
    """Make a test of a case; the trees left behind are compared, too."""
    return _test_of(case, compare_trees=True, keep=True)


def parity_of_results(case: Case) -> Callable[[Pair], None]:
    """Make a test of a case whose tree is too deep or too large to be compared, and is removed."""
    return _test_of(case, compare_trees=False, keep=False)


def _test_of(case: Case, *, compare_trees: bool, keep: bool) -> Callable[[Pair], None]:
    def test(pair: Pair) -> None:
        pair.check(case, compare_trees=compare_trees)
        if not keep:
            pair.remove()

    # Not functools.wraps: pytest would take the case's own argument for a fixture.
    test.__name__, test.__qualname__, test.__doc__ = case.__name__, case.__qualname__, case.__doc__
    test.__module__ = case.__module__
    return test


def look(
    path: str | os.PathLike[str] | int, *, follow_symlinks: bool = False, **at: Any
) -> dict[str, object]:
    """What stat says, without what must differ between two file systems."""
    if isinstance(path, int):
        info = os.fstat(path)
    else:
        info = os.stat(path, follow_symlinks=follow_symlinks, **at)
    return {
        "mode": stat.filemode(info.st_mode),
        "nlink": info.st_nlink,
        "owner": (info.st_uid, info.st_gid),
        "size": info.st_size if not stat.S_ISDIR(info.st_mode) else "any",
        "rdev": info.st_rdev,
    }
