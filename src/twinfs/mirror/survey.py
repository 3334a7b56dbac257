"""What a recovery would have to do: both legs looked at, nothing changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from twinfs.fsio.syscalls import open_beneath
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.label import LABEL_DIRECTORY
from twinfs.model import Survey

_EXAMPLES = 20
_LOST_AND_FOUND = b"lost+found"

_Path = bytes
_Listing = dict[bytes, os.stat_result]


@dataclass(slots=True)
class _Counts:
    files: int = 0
    bytes: int = 0
    missing: int = 0
    differing: int = 0
    extra: int = 0
    bytes_to_copy: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, word: str, path: _Path) -> None:
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{word} {path.decode(errors='replace')}")


def survey(primary_fd: int, secondary_fd: int, excludes: Excludes) -> Survey:
    """Walk both legs (-1 for a secondary that is not there: everything is missing there).

    Sizes, times, types, owners and modes are compared, no contents: files that differ in nothing of that
    are not counted. Blocks: call it in a thread. OSError when the primary cannot be read.
    """
    counts = _Counts()
    places = [b""]
    while places:
        path = places.pop()
        primary = _list(primary_fd, path)
        secondary = _list_if_there(secondary_fd, path)
        for name, wanted, present in _side_by_side(primary, secondary):
            child = path + b"/" + name if path else name
            if child in (LABEL_DIRECTORY, _LOST_AND_FOUND):
                continue
            status = wanted or present
            if status is None or excludes.matches(child, is_directory=stat.S_ISDIR(status.st_mode)):
                continue
            _count(counts, child, wanted, present)
            if wanted is not None and stat.S_ISDIR(wanted.st_mode):
                places.append(child)
    return Survey(
        files=counts.files,
        bytes=counts.bytes,
        missing=counts.missing,
        differing=counts.differing,
        extra=counts.extra,
        bytes_to_copy=counts.bytes_to_copy,
        examples=tuple(counts.examples),
    )


def _count(
    counts: _Counts, path: bytes, wanted: os.stat_result | None, present: os.stat_result | None
) -> None:
    if wanted is None:
        counts.extra += 1
        counts.note("only on the secondary:", path)
        return
    size = wanted.st_size if stat.S_ISREG(wanted.st_mode) else 0
    counts.files += 1
    counts.bytes += size
    if present is None:
        counts.missing += 1
        counts.bytes_to_copy += size
        counts.note("missing on the secondary:", path)
    elif _differs(wanted, present):
        counts.differing += 1
        counts.bytes_to_copy += size
        counts.note("differs:", path)


def _differs(wanted: os.stat_result, present: os.stat_result) -> bool:
    if (wanted.st_mode, wanted.st_uid, wanted.st_gid) != (present.st_mode, present.st_uid, present.st_gid):
        return True
    is_directory = stat.S_ISDIR(wanted.st_mode)
    return not is_directory and (wanted.st_size, wanted.st_mtime_ns) != (present.st_size, present.st_mtime_ns)


def _side_by_side(
    primary: _Listing, secondary: _Listing
) -> Iterator[tuple[bytes, os.stat_result | None, os.stat_result | None]]:
    for name in sorted(primary.keys() | secondary.keys()):
        yield name, primary.get(name), secondary.get(name)


def _list_if_there(root_fd: int, path: bytes) -> _Listing:
    if root_fd < 0:
        return {}
    try:
        return _list(root_fd, path)
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _list(root_fd: int, path: bytes) -> _Listing:
    fd = open_beneath(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    found: _Listing = {}
    try:
        for name in map(os.fsencode, os.listdir(fd)):
            try:
                found[name] = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since it was listed
    finally:
        os.close(fd)
    return found
