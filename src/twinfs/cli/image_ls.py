"""`twinfs image ls`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.image_parameters import ImagePath, OverlayDirectory, PassphraseFile, PathInside
from twinfs.cli.image_reader import merged_tree_of
from twinfs.cli.parameters import InjectedPaths, Json
from twinfs.cli.talk import result, say
from twinfs.errors import ImageError
from twinfs.images.paths import resolve
from twinfs.images.protocol import DirectoryEntry, FileSystem, InodeStat, entries_with_stat
from twinfs.report import json_lines
from twinfs.report.image_text import long_line, printable

_MAX_DEPTH = 1024


def ls(
    image: ImagePath,
    path: PathInside = "/",
    /,
    *,
    long: Annotated[bool, Parameter(name=["-l", "--long"], help="With modes, owners, sizes, times.")] = False,
    recursive: Annotated[bool, Parameter(name=["-R", "--recursive"], help="All that is beneath.")] = False,
    passphrase_file: PassphraseFile = None,
    overlay: OverlayDirectory = None,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """List what is in an image.

    Partition N is /pN/, beside it /pN.img; /disk.img is the whole disk. An
    image without a partition table is /p0/. Where a path goes on after a
    file, that file is taken for an image, too.

    Ends with 1 when some of it could not be read.

    For example:

        twinfs image ls disk.img
        twinfs image ls disk.img /p1/etc -l
        twinfs image ls disk.img /p1 -R --json
    """
    with merged_tree_of(paths, image, passphrase_file=passphrase_file, overlay=overlay) as tree:
        listing = _Listing(tree, is_long=long, is_recursive=recursive, is_json=json)
        listing.show(os.fsencode(path))
        return 1 if listing.has_failed else 0


class _Listing:
    def __init__(self, tree: FileSystem, *, is_long: bool, is_recursive: bool, is_json: bool) -> None:
        self._tree = tree
        self._is_long = is_long
        self._is_recursive = is_recursive
        self._is_json = is_json
        self.has_failed = False

    def show(self, path: bytes) -> None:
        inode = resolve(self._tree, path)
        found = self._tree.stat(inode)
        clean = b"/" + b"/".join(part for part in path.split(b"/") if part not in (b"", b"."))
        is_nested = stat.S_ISREG(found.mode) and path.endswith(b"/")
        if stat.S_ISDIR(found.mode) or is_nested:
            self._directory(inode, b"" if clean == b"/" else clean, 0)
            return
        self._entry(clean, clean, found)

    def _directory(self, inode: int, path: bytes, depth: int) -> None:
        if self._is_recursive and not self._is_json:
            result(f"{'' if depth == 0 else chr(10)}{_shown(path or b'/')}:")
        below: list[tuple[bytes, int]] = []
        for entry, found in self._entries(inode, path):
            self._entry(path + b"/" + entry.name, entry.name, found)
            if stat.S_ISDIR(found.mode):
                below.append((path + b"/" + entry.name, entry.inode))
        if not self._is_recursive:
            return
        if depth >= _MAX_DEPTH:
            raise ImageError(f"{_shown(path)}: directories are nested deeper than {_MAX_DEPTH}")
        for name, number in below:
            self._directory(number, name, depth + 1)

    def _entries(self, inode: int, path: bytes) -> Iterator[tuple[DirectoryEntry, InodeStat]]:
        """As far as they can be read; the rest is told, and the listing goes on elsewhere."""
        try:
            yield from entries_with_stat(self._tree, inode)
        except ImageError as error:
            self.has_failed = True
            say(f"twinfs: {_shown(path)}: {error}")

    def _entry(self, path: bytes, name: bytes, found: InodeStat) -> None:
        target = None
        if stat.S_ISLNK(found.mode) and (self._is_long or self._is_json):
            target = self._tree.readlink(found.inode)
        if self._is_json:
            result(_json(path, found, target))
            return
        if not self._is_long:
            result(_shown(name))
            return
        suffix = "" if target is None else f" -> {_shown(target)}"
        is_device = stat.S_ISCHR(found.mode) or stat.S_ISBLK(found.mode)
        size = f"{os.major(found.device)}, {os.minor(found.device)}" if is_device else str(found.size_bytes)
        line = long_line(
            found.mode, found.link_count, found.uid, found.gid, size, found.mtime_ns, _shown(name) + suffix
        )
        result(line)


def _json(path: bytes, found: InodeStat, target: bytes | None) -> str:
    return json_lines.line(
        {
            "type": "entry",
            "path": _text(path),
            "mode": found.mode,
            "links": found.link_count,
            "uid": found.uid,
            "gid": found.gid,
            "size_bytes": found.size_bytes,
            "blocks": found.blocks,
            "device": found.device,
            "atime_ns": found.atime_ns,
            "mtime_ns": found.mtime_ns,
            "ctime_ns": found.ctime_ns,
            "target": None if target is None else _text(target),
        }
    )


def _text(raw: bytes) -> str:
    """JSON holds no bytes: what is no UTF-8 is written as escapes."""
    return raw.decode("utf-8", "backslashreplace")


def _shown(raw: bytes) -> str:
    return printable(_text(raw))
