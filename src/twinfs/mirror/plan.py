"""Leaving out of a batch what would be made and removed again."""

from __future__ import annotations

import stat
from collections.abc import Sequence

import msgspec

from twinfs.journal.records import Create, Exclude, Link, NameChange, Remove, Rename


class Change(msgspec.Struct, frozen=True):
    """A change of names that the primary has done. `since` is seconds since the epoch. `is_waited_for`: its
    caller, in sync mode, was not to be answered before the secondary had it."""

    number: int
    names: NameChange
    ino: int
    since: float
    is_waited_for: bool = False


def without_passing(changes: Sequence[Change]) -> list[Change]:
    """The same end state without the files that appear and vanish within `changes`.

    Only files: a directory's coming and going costs little, and others may have passed through it.
    A passing file that was renamed over another leaves the removal of that other.
    """
    if len(changes) < 2:
        return list(changes)
    passing = _passing_files(changes)
    kept: list[Change] = []
    for index, change in enumerate(changes):
        if index not in passing:
            kept.append(change)
        elif isinstance(change.names, Rename):
            path, is_torn = change.names.path, change.names.is_torn
            replaced = Remove(path, is_directory=False, is_last=False, is_torn=is_torn)
            kept.append(Change(change.number, replaced, 0, change.since))
    return kept


def _passing_files(changes: Sequence[Change]) -> set[int]:
    """Indices of the changes of files that are made and removed; a number may be used again after that."""
    lives: dict[int, list[int]] = {}
    passing: set[int] = set()
    for index, change in enumerate(changes):
        match change.names:
            case Create(_, mode) if not stat.S_ISDIR(mode):
                lives[change.ino] = [index]
            case Remove(is_directory=False, is_last=True) if change.ino in lives:
                passing.update(lives.pop(change.ino), (index,))
            case Rename(is_exchange=True) | Exclude():
                # Which file is where is then no longer told by one number.
                lives.clear()
            case Link() | Rename() | Remove() if change.ino in lives:
                lives[change.ino].append(index)
            case _:
                pass
    return passing
