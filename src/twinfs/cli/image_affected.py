"""`twinfs image affected`."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.image_parameters import ImagePath, PassphraseFile
from twinfs.cli.image_reader import tree_of
from twinfs.cli.parameters import InjectedPaths, Json
from twinfs.cli.talk import result, say
from twinfs.errors import ImageError, UsageError
from twinfs.images.protocol import DirectoryEntry, InodeStat
from twinfs.images.running.address import PREFIX
from twinfs.images.worker.remote import RemoteTree
from twinfs.report import human, json_lines
from twinfs.report.image_text import printable

_MAX_DEPTH = 1024


def affected(
    image: ImagePath,
    /,
    *,
    map_file: Annotated[str, Parameter(name="--map", help="ddrescue's map file of the disk.")],
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """List the files that lie where a disk could not be read.

    With the offset and length of each part. The rest of what is in the image
    is whole. Ends with 1 when a directory, or a whole file system, could not be
    read: what is in it is not known.

    For example:

        twinfs image affected --map usb_key.img.map usb_key.img
    """
    if image.startswith(PREFIX):
        raise UsageError("a map goes with the image of a disk that was partly read, not with a machine")
    with tree_of(paths, image, map_file=map_file, passphrase_file=passphrase_file) as tree:
        search = _Search(tree, is_json=json)
        search.all()
    if not json:
        say(f"{human.count(search.files, 'file')} affected, {human.size(search.unread_bytes)} of them unread")
    return 1 if search.has_failed else 0


class _Search:
    def __init__(self, tree: RemoteTree, *, is_json: bool) -> None:
        self.tree = tree
        self.files = 0
        self.unread_bytes = 0
        self.has_failed = False
        self._is_json = is_json
        self._seen: set[int] = set()

    def all(self) -> None:
        for name, message in self.tree.lost():
            self._lost(b"/" + name, message)
        self.directory(self.tree.root_inode, b"", 0)

    def directory(self, inode: int, path: bytes, depth: int) -> None:
        below: list[tuple[bytes, int]] = []
        for entry, found in self._entries(inode, path):
            place = path + b"/" + entry.name
            if stat.S_ISDIR(found.mode):
                below.append((place, entry.inode))
            elif stat.S_ISREG(found.mode) and depth > 0:
                # At the top are the raw disk and its partitions, affected as a whole.
                self._file(place, found)
        for place, number in below:
            if depth >= _MAX_DEPTH or number in self._seen:
                self._lost(place, "directories lie within each other")
                continue
            self._seen.add(number)
            self.directory(number, place, depth + 1)

    def _entries(self, inode: int, path: bytes) -> Iterator[tuple[DirectoryEntry, InodeStat]]:
        try:
            yield from self.tree.list_with_stat(inode)
        except ImageError as error:
            self._lost(path, str(error))

    def _file(self, path: bytes, found: InodeStat) -> None:
        try:
            unread = self.tree.affected(found.inode)
        except ImageError as error:
            self._lost(path, str(error))
            return
        if not unread:
            return
        self.files += 1
        self.unread_bytes += sum(length for _, length in unread)
        if self._is_json:
            ranges: list[json_lines.Json] = [
                {"offset_bytes": offset, "length_bytes": length} for offset, length in unread
            ]
            self._print("affected", path, size_bytes=found.size_bytes, unread=ranges)
            return
        parts = ", ".join(f"offset {offset}, length {length}" for offset, length in unread[:8])
        more = f", and {len(unread) - 8} more" if len(unread) > 8 else ""
        result(f"{_shown(path)}: {parts}{more}")

    def _lost(self, path: bytes, message: str) -> None:
        self.has_failed = True
        if self._is_json:
            self._print("unreadable", path, message=message)
        else:
            result(f"{_shown(path)}: cannot be read: {message}")

    def _print(self, kind: str, path: bytes, **fields: json_lines.Json) -> None:
        text = path.decode("utf-8", "backslashreplace") or "/"
        result(json_lines.line({"type": kind, "path": text, **fields}))


def _shown(path: bytes) -> str:
    return printable(path.decode("utf-8", "backslashreplace") or "/")
