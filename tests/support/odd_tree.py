"""One tree with every oddity, and a manifest of it to compare images with."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

SECOND = 1_000_000_000
# user::rw-, user:1000:r--, group::r--, mask::rw-, other::--- as getxattr(2) gives it.
ACL = struct.pack(
    "<I" + "HHI" * 5,
    2,
    *(0x01, 6, 0xFFFFFFFF, 0x02, 4, 1000, 0x04, 4, 0xFFFFFFFF, 0x10, 6, 0xFFFFFFFF, 0x20, 0, 0xFFFFFFFF),
)
LARGE_BYTES = 5 << 30
"""Of a sparse file: beyond what 32 bits count."""


@dataclass(frozen=True)
class Wants:
    """What a file system can hold; the tree has only that, so that everything in it can be compared."""

    entries: int = 1500
    depth: int = 60
    has_owners: bool = True
    has_modes: bool = True
    has_links: bool = True
    has_symlinks: bool = True
    has_nodes: bool = True
    has_xattrs: bool = True
    has_acls: bool = False
    has_ntfs_streams: bool = False
    has_raw_names: bool = True
    has_large_sparse: bool = True
    has_trailing_holes: bool = True
    name_bytes: int = 255
    device: tuple[int, int] = (259, 70_000)
    long_xattr_bytes: int = 2000
    times: tuple[int, ...] = (
        1_600_000_000 * SECOND + 123_456_789,
        -86_400 * SECOND + 5,
        4_000_000_000 * SECOND + 999_999_999,
    )


@dataclass
class Expected:
    """What one object should look like in the image."""

    kind: int
    size: int
    digest: str = ""
    target: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    links: int = 1
    device: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)


def build(root: Path, wants: Wants) -> None:
    """As root, for owners and nodes."""
    random.seed(5)
    base = os.fsencode(root)
    os.makedirs(base, exist_ok=True)
    _contents(base, wants)
    _directories(base, wants)
    _names(base, wants)
    if wants.has_large_sparse:
        with open(base + b"/sparse_large", "wb") as file:
            file.write(b"begin")
            file.seek(LARGE_BYTES // 2)
            file.write(b"middle" * 1000)
            file.truncate(LARGE_BYTES)
        with open(base + b"/many_extents", "wb") as file:
            for block in range(1500):
                file.seek(block * 8192)
                file.write(b"%04d" % block * 1024)
    if wants.has_links:
        os.link(base + b"/small", base + b"/dir/second_name")
        os.link(base + b"/small", base + b"/third_name")
    if wants.has_symlinks:
        os.symlink(b"/etc/passwd", base + b"/absolute_link")
        os.symlink(b"../" * 40 + b"etc/passwd", base + b"/outward_link")
        os.symlink(b"x" * 200, base + b"/long_link")
        os.symlink(b"dangling", base + b"/short_link")
    if wants.has_nodes:
        os.mkfifo(base + b"/fifo")
        os.mknod(base + b"/char", stat.S_IFCHR | 0o620, os.makedev(5, 1))
        os.mknod(base + b"/block", stat.S_IFBLK | 0o660, os.makedev(*wants.device))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(base + b"/socket")
        listener.close()
    _attributes(base, wants)


def _contents(base: bytes, wants: Wants) -> None:
    os.makedirs(base + b"/dir")
    _write(base + b"/empty", b"")
    _write(base + b"/small", b"small content\n")
    _write(base + b"/one_block", os.urandom(4096))
    _write(base + b"/large", random.randbytes(3 << 20) + b"compressible " * 200_000)
    with open(base + b"/holes", "wb") as file:
        for place in (0, 65536, 1_000_000):
            file.seek(place)
            file.write(b"data at %d" % place)
        if wants.has_trailing_holes:
            file.truncate(2_000_000)


def _write(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _directories(base: bytes, wants: Wants) -> None:
    os.mkdir(base + b"/many")
    for number in range(wants.entries):
        _write(base + b"/many/entry number %05d.txt" % number, b"%d" % number)
    os.makedirs(base + b"/deep" + b"/d" * wants.depth)
    _write(base + b"/deep" + b"/d" * wants.depth + b"/bottom", b"bottom")
    os.mkdir(base + b"/empty_dir")


def _names(base: bytes, wants: Wants) -> None:
    os.mkdir(base + b"/names")
    names = ["Größe.txt", "日本語", "with space", "percent%2F", "UPPER.TXT", "-dash", "#hash"]
    for name in names:
        _write(base + b"/names/" + name.encode(), name.encode())
    longest = "n" * min(wants.name_bytes, 255)
    _write(base + b"/names/" + longest.encode(), b"longest")
    if wants.has_raw_names:
        _write(base + b"/names/\xff\xfe raw \x80", b"raw")
        _write(base + b"/names/new\nline", b"newline")


def _attributes(base: bytes, wants: Wants) -> None:
    if wants.has_owners:
        os.chown(base + b"/small", 1000, 2000)
        os.chown(base + b"/large", 3_000_000_000, 70_000)
        os.chown(base + b"/dir", 65534, 65534)
    if wants.has_modes:
        for name, mode in ((b"small", 0o4751), (b"large", 0o2604), (b"dir", 0o1777), (b"empty", 0o000)):
            os.chmod(base + b"/" + name, mode)
    if wants.has_xattrs:
        os.setxattr(base + b"/small", b"user.colour", b"green\0binary")
        os.setxattr(base + b"/small", b"user.long", b"v" * wants.long_xattr_bytes)
        os.setxattr(base + b"/dir", b"user.of_directory", b"1")
        os.setxattr(base + b"/large", b"trusted.secret", b"root's")
    if wants.has_ntfs_streams:
        os.setxattr(base + b"/small", b"user.Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n")
        os.setxattr(base + b"/large", b"user.stream", b"s" * 1500)
    if wants.has_acls:
        os.setxattr(base + b"/large", b"system.posix_acl_access", ACL)
        os.setxattr(base + b"/dir", b"system.posix_acl_default", ACL)
    for name, when in zip((b"small", b"large", b"holes"), wants.times, strict=False):
        os.utime(base + b"/" + name, ns=(when, when))
    os.utime(base + b"/dir", ns=(wants.times[0], wants.times[0]))


def manifest(root: Path) -> dict[bytes, Expected]:
    """Everything beneath a directory, by its path."""
    base = os.fsencode(root)
    found: dict[bytes, Expected] = {}
    for directory, names, files in os.walk(base):
        for name in (*names, *files):
            path = directory + b"/" + name
            found[path[len(base) + 1 :]] = _expected(path)
    return found


def _expected(path: bytes) -> Expected:
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    is_node = kind in (stat.S_IFCHR, stat.S_IFBLK)
    return Expected(
        kind=kind,
        size=status.st_size,
        digest=_digest(path, status.st_size) if kind == stat.S_IFREG else "",
        target=os.readlink(path) if kind == stat.S_IFLNK else b"",
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        links=status.st_nlink,
        device=status.st_rdev if is_node else 0,
        xattrs={
            os.fsencode(name): os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        },
    )


def _digest(path: bytes, size: int) -> str:
    with open(path, "rb") as file:
        return digest_of(size, _data(file.fileno(), size))


def _data(fd: int, size: int) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return
        piece = os.pread(fd, 1 << 20, at)
        yield at, piece
        at += len(piece)


def digest_of(size: int, pieces: Iterable[tuple[int, bytes]]) -> str:
    """Of what is not zeros, in blocks, with where it is: equal however many holes there are."""
    sha = hashlib.sha256(b"%d" % size)
    for at, piece in _blocks(pieces):
        if piece.strip(b"\0"):
            sha.update(b"@%d:" % at + piece.ljust(4096, b"\0"))
    return sha.hexdigest()


def _blocks(pieces: Iterable[tuple[int, bytes]]) -> Iterable[tuple[int, bytes]]:
    """Aligned blocks of 4096 bytes out of pieces that begin and end anywhere, ascending."""
    block_at, block = -1, bytearray()
    for at, piece in pieces:
        position = 0
        while position < len(piece):
            here = at + position
            start = here - here % 4096
            if start != block_at:
                if block_at >= 0:
                    yield block_at, bytes(block)
                block_at, block = start, bytearray()
            block.extend(bytes(here - start - len(block)))
            take = min(4096 - len(block), len(piece) - position)
            block += piece[position : position + take]
            position += take
    if block_at >= 0:
        yield block_at, bytes(block)
