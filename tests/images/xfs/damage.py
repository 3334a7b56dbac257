"""Small images with every kind of structure, and ways to damage them."""

from __future__ import annotations

import os
import stat
import struct
from itertools import islice
from pathlib import Path

from images.xfs.making import debugger, make, mounted
from images.xfs.sources import ChangedSource, FileSource, recorded
from twinfs.errors import ImageError
from twinfs.images.protocol import ByteSource, FileSystem
from twinfs.images.xfs import open_file_system
from twinfs.images.xfs.crc32c import crc32c

SIZE_BYTES = 64 << 20
_EVERY = 19
"""Of the names of a directory, so many are followed, then one in so many."""
_FEW = 300
"""Names, ranges and attributes looked at of one inode."""
# Where version 5 keeps the checksum, by the first bytes, or those at 8.
_CRC_AT = {b"XFSB": 224, b"XDB3": 4, b"XDD3": 4, b"BMA3": 64, b"XSLM": 12, b"XARM": 12}
_CRC_AT_BY_8 = dict.fromkeys((b"\x3d\xf1", b"\x3d\xff", b"\x3e\xbe", b"\x3b\xee"), 12)


def with_checksums(base: Path) -> Path:
    """Version 5, with blocks of 1 KiB so that little is needed for trees of several levels."""
    image = make(base / "v5", ("-b", "size=1024", "-i", "nrext64=1"), size_bytes=SIZE_BYTES)
    with mounted(image) as root:
        (root / "file").write_bytes(b"contents" * 1000)
        for name, count in (("short", 3), ("block", 40), ("leaf", 200), ("node", 560)):
            (root / name).mkdir()
            for number in range(count):
                os.link(root / "file", root / name / f"{name}-{number}")
        with open(root / "fragmented", "wb") as file:
            for number in range(1500):
                os.pwrite(file.fileno(), b"%04d" % number, number * 2048)
        for length in (50, 1000):
            os.symlink("t" * length, root / f"link-{length}")
        for name, count, size in (
            ("a-short", 2, 9),
            ("a-leaf", 8, 60),
            ("a-node", 60, 60),
            ("a-remote", 2, 9000),
        ):
            (root / name).touch()
            for number in range(count):
                os.setxattr(root / name, f"user.{number}", os.urandom(size))
        os.setxattr(root / "a-short", "system.posix_acl_access", _acl())
        os.mknod(root / "device", stat.S_IFBLK, os.makedev(7, 7))
    return image


def without_checksums(base: Path) -> Path:
    """Version 4."""
    (base / "content").write_bytes(b"contents" * 1000)
    directories = "".join(
        f"{name} d--755 0 0\n" + "".join(f"{name}-{number} p--600 0 0\n" for number in range(count)) + "$\n"
        for name, count in (("short", 3), ("block", 40), ("leaf", 200), ("node", 1200))
    )
    (base / "list").write_text(
        f"/\n0 0\nd--755 0 0\nfile ---644 0 0 {base}/content\nlink l--777 0 0 {'t' * 1000}\n"
        f"attributes ---644 0 0 /dev/null\nremote ---644 0 0 /dev/null\n{directories}$\n"
    )
    image = make(
        base / "v4",
        ("-m", "crc=0", "-b", "size=512", "-p", str(base / "list")),
        size_bytes=SIZE_BYTES,
    )
    debugger(image, "path /attributes", *(f"attr_set -u -v 30 {number}" for number in range(40)), expert=True)
    debugger(image, "path /remote", "attr_set -u -v 9000 large", expert=True)
    return image


def _acl() -> bytes:
    entries = ((1, 6, -1), (2, 4, 12345), (4, 4, -1), (16, 4, -1), (32, 4, -1))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def in_memory(image: Path) -> ChangedSource:
    """What a walk reads of an image."""
    with FileSource(image) as source:
        assert walk(source, with_contents=False) == []
        metadata = set(source.reads)
        assert walk(source) == []
        return recorded(source, {part for part in metadata if not _is_pipe(source.read_at(*part))})


def _is_pipe(raw: bytes) -> bool:
    """An inode of which there are many, with nothing in it."""
    return raw[:2] == b"IN" and stat.S_ISFIFO(int.from_bytes(raw[2:4], "big"))


def flip(source: ChangedSource, part: tuple[int, int], at: int, change: bytes, *, sign: bool) -> None:
    """Change bytes at an offset within a part; signed, its checksum is made to fit, as an attacker would."""
    offset, length = part
    source.changes = {offset + at: change}
    if sign:
        original = source.part(part)
        crc_at = _CRC_AT.get(original[:4]) or _CRC_AT_BY_8.get(original[8:10])
        if original[:2] == b"IN" and original[4] == 3:
            crc_at = 100
        if crc_at is not None and crc_at + 4 <= length:
            covered = 512 if original[:4] == b"XFSB" else length
            zeroed = bytearray(source.read_at(offset, length)[:covered])
            zeroed[crc_at : crc_at + 4] = bytes(4)
            source.changes[offset + crc_at] = struct.pack("<I", crc32c(bytes(zeroed)))


def walk(source: ByteSource, *, with_contents: bool = True) -> list[str]:
    """Use all of an image, as far as it can be; what the ImageErrors said. Others go through."""
    said: list[str] = []
    try:
        files = open_file_system(source)
    except ImageError as error:
        return [str(error)]
    if files is None:
        return ["none"]
    waiting, seen = [files.root_inode], {files.root_inode}
    while waiting and len(seen) < 3000:
        inode = waiting.pop()
        for position, (name, inner) in enumerate(_look(files, inode, said, with_contents)):
            if position > _EVERY and position % _EVERY:
                continue
            found = _try(said, files.lookup, inode, name)
            if found is not None and found not in seen:
                seen.add(found)
                waiting.append(found)
            if inner not in seen:
                seen.add(inner)
                waiting.append(inner)
    return said


def _look(files: FileSystem, inode: int, said: list[str], with_contents: bool) -> list[tuple[bytes, int]]:
    """Ask all there is to ask of an inode; the names in it where it is a directory."""
    info = _try(said, files.stat, inode)
    _try(said, files.xattrs, inode)
    if info is None:
        return []
    if stat.S_ISDIR(info.mode):
        names: list[tuple[bytes, int]] = []
        entries = files_list(files, inode, said)
        for entry in entries:
            assert entry.name not in (b"", b".", b"..")
            assert not {0, ord("/")} & set(entry.name)
            names.append((entry.name, entry.inode))
        return names
    if stat.S_ISLNK(info.mode):
        target = _try(said, files.readlink, inode)
        assert target != b""
    elif stat.S_ISREG(info.mode):
        for start, length in _try(said, lambda: list(islice(files.data_ranges(inode), _FEW))) or []:
            assert length > 0
            assert start + length <= info.size_bytes
        offsets = (0, info.size_bytes // 2, info.size_bytes - 5)
        for offset in offsets if with_contents else ():
            wanted = max(0, min(3000, info.size_bytes - offset)) if offset >= 0 else 0
            data = _try(said, files.read, inode, max(offset, 0), 3000)
            assert data is None or offset < 0 or len(data) == wanted
    return []


def files_list(files: FileSystem, inode: int, said: list[str]) -> list:
    """Entries until the error that ends them."""
    entries = []
    try:
        for entry in islice(files.list(inode), _FEW * 100):
            entries.append(entry)
    except ImageError as error:
        said.append(str(error))
    return entries


def _try(said: list[str], call, *arguments):
    try:
        return call(*arguments)
    except ImageError as error:
        assert str(error).startswith("xfs: ")
        said.append(str(error))
        return None
