"""Making one leg's object like the other's, so that nothing is lost at any moment.

In two steps. `prepare` may take long: a complete copy on the bad leg, under a temporary name, durable, read
back from the disk. `place` is short: what was found is still there, the bad copy gets a second name in
quarantine, the new one is renamed over it. What both disks hold when the process dies: before the rename the
bad copy, after it the good one, and the bad one in quarantine either way. A directory in the place of
something else (or the reverse) has no such rename: between two, its name is missing, and the next scrub
finds it so.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from typing import Final

from twinfs.fsio.beneath import located
from twinfs.fsio.tree import remove_tree
from twinfs.mirror.folders import TEMPORARY
from twinfs.model import BadLeg, MismatchKind, ReadMethod
from twinfs.scrub.build import Builder, metadata_over, times_over
from twinfs.scrub.examine import Examined
from twinfs.scrub.leftovers import PREFIX
from twinfs.scrub.losers import Losers
from twinfs.scrub.views import Look, View, field, is_same, look

_OTHER: Final = {BadLeg.PRIMARY: 1, BadLeg.SECONDARY: 0}


class ChangedError(Exception):
    """It is not what it was when it was examined: look again."""


class Mend:
    """One mismatch, one bad leg. `roots` are the primary's and the secondary's."""

    def __init__(
        self,
        found: Examined,
        bad: BadLeg,
        roots: tuple[int, int],
        method: ReadMethod,
        losers: Losers,
        is_left_out: Callable[[bytes, bool], bool],
        names: Sequence[bytes],
    ) -> None:
        """`names`: all names of a hard-linked file on either leg."""
        good = _OTHER[bad]
        self.path = found.suspicion.path
        self.bad = bad
        self._found = found
        self._good_root, self._bad_root = roots[good], roots[1 - good]
        self._good, self._bad_look = found.looks[good], found.looks[1 - good]
        self._good_side = found.sides[good]
        self._losers = losers
        self.other_names = [name for name in names if name != self.path]
        self._builder = Builder(self._good_root, self._bad_root, method, is_left_out)
        self._temporary = b""
        self._is_to_be_linked = False
        self._linked_names: set[bytes] = set()
        self._moved_times = [self.path]
        self._why = f"{found.verdict.kind}: {found.verdict.detail}"

    @property
    def is_metadata_only(self) -> bool:
        """Whether the bad leg's object stays, and only gets other metadata."""
        return (
            self._found.verdict.kind is MismatchKind.METADATA
            and self._good is not None
            and self._bad_look is not None
            and self._found.suspicion.link_to is None
            and _is_one_kind(self._good.view, self._bad_look.view)
        )

    def prepare(self) -> None:
        """The long part. OSError, CopyFailedError: nothing has changed."""
        other = self._found.suspicion.link_to
        self._is_to_be_linked = other is not None and _are_linked(self._good_root, self.path, other)
        self._linked_names = {
            name for name in self.other_names if _are_linked(self._good_root, self.path, name)
        }
        if self._good is None or self.is_metadata_only or self._is_to_be_linked:
            return
        self._temporary = TEMPORARY + b"/" + PREFIX + b"%x" % id(self)
        content = None if self._good_side is None else self._good_side.content
        self._builder.build(self.path, self._temporary, content)

    def require_good_unchanged(self) -> None:
        """ChangedError: it is to be examined again."""
        _require_same(self._good_root, self.path, self._good)

    def place(self) -> None:
        """The short part, right after `require_good_unchanged`. ChangedError: nothing was done."""
        _require_same(self._bad_root, self.path, self._bad_look)
        if self._good is None:
            self._losers.move(self.path, self._why)
        elif self.is_metadata_only:
            assert self._bad_look is not None
            self._losers.explain(
                self.path, f"{self._why}; it had {_described(self._bad_look.view, self._good.view)}"
            )
            metadata_over(self._good_root, self._bad_root, self.path)
        else:
            self._put_in_place()

    def _put_in_place(self) -> None:
        if self._is_to_be_linked:
            assert self._found.suspicion.link_to is not None
            self._temporary = TEMPORARY + b"/" + PREFIX + b"%x" % id(self)
            self._link(self._found.suspicion.link_to, self._temporary)
        if self._bad_look is not None:
            if self._bad_look.view.is_directory or stat.S_ISDIR(self._stat(self._temporary).st_mode):
                self._losers.move(self.path, self._why)
            else:
                self._losers.keep(self.path, self._why)
        self._rename(self._temporary, self.path)
        self._temporary = b""
        if self._bad_look is not None and self._found.suspicion.link_to is None:
            self._relink_names(self._bad_look)

    def _relink_names(self, bad: Look) -> None:
        """The other names of the bad file are names of the new one, where the good leg has it so."""
        for name in self.other_names:
            present = look(self._bad_root, name)
            if present is None or not os.path.samestat(present.status, bad.status):
                continue
            if name in self._linked_names:
                temporary = TEMPORARY + b"/" + PREFIX + b"link-%x" % id(self)
                self._link(self.path, temporary)
                self._rename(temporary, name)
                self._moved_times.append(name)

    def _link(self, path: bytes, name: bytes) -> None:
        with located(self._bad_root, path) as (dir_fd, source):
            os.link(source, name, src_dir_fd=dir_fd, dst_dir_fd=self._bad_root, follow_symlinks=False)

    def _rename(self, old: bytes, new: bytes) -> None:
        with located(self._bad_root, new) as (dir_fd, name):
            os.rename(old, name, src_dir_fd=self._bad_root, dst_dir_fd=dir_fd)
            # Without this the rename itself can vanish in a power cut.
            os.fsync(dir_fd)

    def _stat(self, path: bytes) -> os.stat_result:
        return os.stat(path, dir_fd=self._bad_root, follow_symlinks=False)

    def finish(self) -> bool:
        """The directories' times, which the repair has moved; whether both legs are equal now."""
        for path in self._moved_times:
            self._restore_times(path)
        good, bad = look(self._good_root, self.path), look(self._bad_root, self.path)
        if good is None or bad is None:
            return good is bad
        is_own_time_only = good.view.is_directory and _without_time(good.view) == _without_time(bad.view)
        return good.view == bad.view or is_own_time_only

    def _restore_times(self, path: bytes) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            times_over(self._good_root, self._bad_root, path.rpartition(b"/")[0])

    def abandon(self) -> None:
        """Remove what was prepared and not put in place."""
        if self._temporary:
            remove_tree(self._bad_root, self._temporary)
            self._temporary = b""


def _require_same(root_fd: int, path: bytes, before: Look | None) -> None:
    now = look(root_fd, path)
    if (now is None) != (before is None):
        raise ChangedError
    if now is not None and before is not None and not is_same(now.status, before.status):
        raise ChangedError


def _is_one_kind(first: View, second: View) -> bool:
    return all(field(first, name) == field(second, name) for name in ("type", "device", "target", "size"))


def _without_time(view: View) -> tuple[object, ...]:
    return tuple(field(view, name) for name in ("type", "mode", "owner", "xattrs"))


def _are_linked(root_fd: int, path: bytes, other: bytes) -> bool:
    first, second = look(root_fd, path), look(root_fd, other)
    return first is not None and second is not None and os.path.samestat(first.status, second.status)


def _described(bad: View, good: View) -> str:
    """What a metadata repair takes away: xattrs only by their digest."""
    parts = []
    for name in ("mode", "owner", "mtime", "xattrs"):
        value = field(bad, name)
        if value != field(good, name):
            parts.append(f"{name} {oct(value) if name == 'mode' and isinstance(value, int) else value!r}")
    return ", ".join(parts) or "other values"
