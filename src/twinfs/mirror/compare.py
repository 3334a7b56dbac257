"""Comparing a directory of the two legs, and making the secondary's names and metadata equal.

Contents are not copied here: what differs comes back as `Copy` objects. Runs in the secondary's lane,
with every change of names applied, so that what one leg has and the other lacks is a real difference.
What only the secondary has goes to quarantine.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from twinfs.fsio.syscalls import open_beneath
from twinfs.fsio.tree import remove_tree
from twinfs.journal.ranges import Ranges
from twinfs.journal.records import Create, Link
from twinfs.mirror.applier import Applier
from twinfs.mirror.copier import Copy, SourceUnreadableError
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.failures import UNEXPECTED, is_leg_failure
from twinfs.mirror.following import GONE
from twinfs.mirror.label import LABEL_DIRECTORY
from twinfs.mirror.quarantine import ONLY_THERE, Quarantine
from twinfs.mirror.versions.records import Why

_LOST_AND_FOUND: Final = b"lost+found"
"""fsck's own at the root of each file system: neither made, nor looked into, nor set aside."""

# Why something is in quarantine.
_OTHER_OBJECT: Final = "the primary has an object of another kind there"
_OTHER_VERSION: Final = "the primary has another version, by size or time"
_OTHER_CONTENT: Final = "the primary has other content"
_EXCLUDED: Final = "it is excluded"


@dataclass(frozen=True, slots=True)
class Trust:
    """From when on (nanoseconds since the epoch, 0 for never) equal sizes and times prove nothing.

    `distrust_ns` goes by what either leg's file says, `changed_ns` by the primary's. `is_keeping`: what is
    replaced on the secondary goes to quarantine.
    """

    distrust_ns: int = 0
    changed_ns: int = 0
    is_keeping: bool = False

    def asks_for_content(self, wanted: os.stat_result, present: os.stat_result) -> bool:
        """Whether files of equal size and time have to be read."""
        latest = max(wanted.st_mtime_ns, wanted.st_ctime_ns, present.st_mtime_ns, present.st_ctime_ns)
        if self.distrust_ns and latest >= self.distrust_ns:
            return True
        return bool(self.changed_ns) and wanted.st_ctime_ns >= self.changed_ns


Listing = dict[bytes, os.stat_result]


class Place:
    """A path that follows the secondary's renames. `is_single`: only the name, not what is in it."""

    def __init__(self, path: bytes, *, is_single: bool = False) -> None:
        self.path = path
        self.is_single = is_single


@dataclass(slots=True)
class Findings:
    """Of one directory: what to copy, and what to descend into."""

    copies: list[Copy] = field(default_factory=list)
    directories: list[Place] = field(default_factory=list)
    files: int = 0
    troubles: list[tuple[bytes, OSError]] = field(default_factory=list)


class Comparer:
    """One run over the tree; knows the hard links seen so far."""

    def __init__(
        self,
        primary_fd: int,
        applier: Applier,
        excludes: Excludes,
        ident_of: Callable[[os.stat_result], int],
        *,
        is_deleting_excluded: bool,
        is_whole: bool = True,
    ) -> None:
        self._is_whole = is_whole
        self.has_unknown_links = False
        self._ident_of = ident_of
        self._primary_fd = primary_fd
        self._applier = applier
        self._excludes = excludes
        self._is_deleting_excluded = is_deleting_excluded
        self.quarantine = Quarantine(applier.root_fd)
        self._first_names: dict[tuple[int, int], Place] = {}
        self._owners: dict[tuple[int, int], tuple[int, int]] = {}

    def list_both(self, path: bytes) -> tuple[Listing, Listing] | None:
        """What each leg has in the directory; None where the primary has no such directory any more."""
        try:
            primary = self._list(self._primary_fd, path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceUnreadableError(error) from error
        return primary, self._list(self._applier.root_fd, path)

    def _list(self, root_fd: int, path: bytes) -> Listing:
        fd = open_beneath(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found: Listing = {}
            for name in map(os.fsencode, os.listdir(fd)):
                if not path and name == LABEL_DIRECTORY:
                    continue
                try:
                    found[name] = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # gone since it was listed
            return found
        finally:
            os.close(fd)

    def look(self, path: bytes) -> tuple[Listing, Listing]:
        """One name, as listings of its directory that hold nothing else. FileNotFoundError: the secondary
        has no such directory."""
        parent, _, name = path.rpartition(b"/")
        primary, secondary = _status(self._primary_fd, path), _status(self._applier.root_fd, path)
        if primary is not None and secondary is None and _status(self._applier.root_fd, parent) is None:
            raise FileNotFoundError(errno.ENOENT, "the secondary lacks its directory", path)
        return {name: primary} if primary else {}, {name: secondary} if secondary else {}

    def directory(self, path: bytes, primary: Listing, secondary: Listing, trust: Trust) -> Findings:
        """Make what the listings hold of the directory like the primary's, but for file contents."""
        found = Findings()
        for name in secondary.keys() - primary.keys():
            if path or name != _LOST_AND_FOUND:
                child = path + b"/" + name if path else name
                self._try(child, found, partial(self._extra, child, secondary[name], trust))
        for name, status in primary.items():
            child = path + b"/" + name if path else name
            if child == _LOST_AND_FOUND:
                if name in secondary:
                    self._try(child, found, partial(self._metadata, child))
                continue
            if self._excludes.matches(child, is_directory=stat.S_ISDIR(status.st_mode)):
                if name in secondary:
                    self._try(child, found, partial(self._excluded, child, trust))
                continue
            found.files += 1
            work = partial(self._entry, child, status, secondary.get(name), trust, found)
            self._try(child, found, work)
        self._try(path, found, partial(self._metadata, path))
        return found

    @staticmethod
    def _try(path: bytes, found: Findings, work: Callable[[], None]) -> None:
        """What one object is refused is its own trouble; only a failing leg ends the comparison."""
        try:
            work()
        except OSError as error:
            if is_leg_failure(error):
                raise
            # Gone from the primary since it was listed: the change that took it is in the log.
            if error.errno not in UNEXPECTED:
                found.troubles.append((path, error))

    def _extra(self, path: bytes, status: os.stat_result, trust: Trust) -> None:
        if self._excludes.matches(path, is_directory=stat.S_ISDIR(status.st_mode)):
            self._excluded(path, trust)
        else:
            self._set_aside(path)

    def _excluded(self, path: bytes, trust: Trust) -> None:
        if self._is_deleting_excluded and trust.is_keeping:
            self._set_aside(path, _EXCLUDED)
        elif self._is_deleting_excluded:
            dir_fd, name = self._applier.locate(path)
            self._applier.forget(path)
            remove_tree(dir_fd, name)

    def _entry(
        self,
        path: bytes,
        wanted: os.stat_result,
        present: os.stat_result | None,
        trust: Trust,
        found: Findings,
    ) -> None:
        if present is not None and present.st_nlink > 1:
            # Of its names some may have gone since the listing, and with this one its content would go.
            present = self._status(path)
        is_other = present is not None and self._is_other_object(path, wanted, present)
        if present is not None and (is_other or (trust.is_keeping and _is_other_version(wanted, present))):
            self._set_aside(path, _OTHER_OBJECT if is_other else _OTHER_VERSION)
            present = None
        if present is not None and present.st_nlink > 1 and self._is_other_content(wanted, present):
            # Its other names keep the content, which writing in place would change for them, too.
            self._unlink(path)
            present = None
        if not stat.S_ISDIR(wanted.st_mode) and self._link_to_first(path, wanted, present, trust):
            return
        if present is None:
            self._make(path, wanted)
        if stat.S_ISDIR(wanted.st_mode):
            found.directories.append(Place(path))
        elif stat.S_ISREG(wanted.st_mode) and self._differs(wanted, present, trust):
            copy = self._whole_copy(path, wanted)
            copy.is_comparing = present is not None
            if trust.is_keeping:
                copy.set_aside = partial(self.quarantine.keep_copy, path, _OTHER_CONTENT)
            found.copies.append(copy)
        else:
            self._metadata(path)

    def _is_other_object(self, path: bytes, wanted: os.stat_result, present: os.stat_result) -> bool:
        if stat.S_IFMT(wanted.st_mode) != stat.S_IFMT(present.st_mode):
            return True
        if stat.S_ISLNK(wanted.st_mode):
            dir_fd, name = self._applier.locate(path)
            return self._read_target(path) != os.readlink(name, dir_fd=dir_fd)
        return wanted.st_rdev != present.st_rdev

    def _read_target(self, path: bytes) -> bytes:
        fd = open_beneath(self._primary_fd, path, os.O_PATH)
        try:
            return os.readlink(b"", dir_fd=fd)
        finally:
            os.close(fd)

    def _link_to_first(
        self, path: bytes, wanted: os.stat_result, present: os.stat_result | None, trust: Trust
    ) -> bool:
        """Keep hard links: True when `path` is now another name of a file handled before."""
        key = (wanted.st_dev, wanted.st_ino)
        if wanted.st_nlink == 1:
            return False
        first = self._first_names.get(key)
        is_other_file = present is None or present.st_nlink != wanted.st_nlink
        if first is None and is_other_file and not self._is_whole:
            # Its other names may be outside of what is compared: only a look at everything tells.
            self.has_unknown_links = True
            return True
        if first is None or first.path == GONE:
            place = self._first_names[key] = Place(path)
            self._applier.followers.add(place)
            return False
        target = os.stat(self._applier.proc_path(first.path), follow_symlinks=False)
        if present is not None and (present.st_dev, present.st_ino) != (target.st_dev, target.st_ino):
            if present.st_nlink > 1 or self._is_taken_as_equal(wanted, present, trust):
                self._unlink(path)
            elif trust.is_keeping:
                self._set_aside(path, _OTHER_CONTENT)
            else:
                self._replace(path)
            present = None
        if present is None:
            self._applier.attempt(0, Link(first.path, path))
        return True

    @staticmethod
    def _is_taken_as_equal(wanted: os.stat_result, present: os.stat_result, trust: Trust) -> bool:
        """Whether what the secondary has is what the primary has, too, as far as this comparison asks. A
        link's target and a node's number were looked at before."""
        is_equal = not stat.S_ISREG(wanted.st_mode) or not _is_other_version(wanted, present)
        return is_equal and not trust.is_keeping and not trust.asks_for_content(wanted, present)

    def _status(self, path: bytes) -> os.stat_result:
        """What the secondary has there now."""
        dir_fd, name = self._applier.locate(path)
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    def _set_aside(self, path: bytes, why: str = ONLY_THERE) -> None:
        dir_fd, name = self._applier.locate(path)
        self.quarantine.take(dir_fd, name, path, why)
        self._applier.forget(path)

    def _replace(self, path: bytes) -> None:
        """As where the primary's content is written over it: kept as a version, where those are kept."""
        dir_fd, name = self._applier.locate(path)
        self._applier.keeper.at(0, time.time_ns())
        if not self._applier.keeper.take(dir_fd, name, path, Why.REPLACED):
            os.unlink(name, dir_fd=dir_fd)

    def _unlink(self, path: bytes) -> None:
        """Of an object that has other names, or is a copy of what the primary has."""
        dir_fd, name = self._applier.locate(path)
        os.unlink(name, dir_fd=dir_fd)

    def _make(self, path: bytes, wanted: os.stat_result) -> None:
        target = self._read_target(path) if stat.S_ISLNK(wanted.st_mode) else b""
        create = Create(path, wanted.st_mode, wanted.st_uid, wanted.st_gid, wanted.st_rdev, target)
        try:
            self._applier.attempt(0, create)
        except OSError as error:
            if error.errno not in UNEXPECTED:
                raise  # asked for again at once it would be refused again, without an end

    def _is_other_content(self, wanted: os.stat_result, present: os.stat_result) -> bool:
        """Seen to be another file, not only distrusted: that one is read first, and written in place. Links
        and nodes of several names, too, have to part."""
        if stat.S_ISREG(wanted.st_mode):
            return self._differs(wanted, present, Trust())
        return not stat.S_ISDIR(wanted.st_mode) and wanted.st_nlink == 1

    def _differs(self, wanted: os.stat_result, present: os.stat_result | None, trust: Trust) -> bool:
        if present is None or wanted.st_size != present.st_size or wanted.st_mtime_ns != present.st_mtime_ns:
            return True
        # Names of one file on the secondary that are several on the primary must part.
        owner = self._owners.setdefault((present.st_dev, present.st_ino), (wanted.st_dev, wanted.st_ino))
        if owner != (wanted.st_dev, wanted.st_ino) or (present.st_nlink > 1 and wanted.st_nlink == 1):
            return True
        return trust.asks_for_content(wanted, present)

    def _metadata(self, path: bytes) -> None:
        self._applier.copy_metadata(self._primary_fd, path)

    def _whole_copy(self, path: bytes, wanted: os.stat_result) -> Copy:
        ranges = Ranges()
        ranges.add(0, Ranges.OPEN_END)
        copy = Copy(path, self._ident_of(wanted), ranges, self._ident_of)
        copy.size = wanted.st_size
        # From now on, so that a rename before it begins is not missed.
        self._applier.followers.add(copy)
        return copy

    def close(self) -> None:
        self._applier.followers.difference_update(self._first_names.values())


def _is_other_version(wanted: os.stat_result, present: os.stat_result) -> bool:
    """Of a file: what the secondary has is not what the primary had at some time, as far as can be seen."""
    versions = ((status.st_size, status.st_mtime_ns) for status in (wanted, present))
    return stat.S_ISREG(wanted.st_mode) and len(set(versions)) > 1


def _status(root_fd: int, path: bytes) -> os.stat_result | None:
    try:
        fd = open_beneath(root_fd, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)
