"""A tree as a value: as the kernel shows it, and as the reader does."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from twinfs.images.protocol import FileSystem, InodeStat

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Seen:
    """One name. Contents are the digest of what lies in each of the ranges that hold data."""

    stat: tuple[int, ...]
    file_type: int
    target: bytes
    ranges: tuple[tuple[int, int], ...]
    digest: str
    xattrs: tuple[tuple[bytes, bytes], ...]


Tree = dict[bytes, Seen]


def by_kernel(root: str | os.PathLike[str]) -> Tree:
    """All below a mounted file system's root, and the root as b"."."""
    tree: Tree = {}
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        tree[b"."] = _by_kernel(root_fd, b".")
        _walk_kernel(root_fd, b"", tree, {})
    finally:
        os.close(root_fd)
    return tree


def _walk_kernel(dir_fd: int, prefix: bytes, tree: Tree, known: dict[int, Seen]) -> None:
    """`known`: what was seen of each inode, which may have many names."""
    for text in os.listdir(dir_fd):
        name = os.fsencode(text)
        inode = os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_ino
        if inode not in known:
            known[inode] = _by_kernel(dir_fd, name)
        seen = tree[prefix + name] = known[inode]
        if seen.file_type == stat.S_IFDIR:
            child = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)
            try:
                _walk_kernel(child, prefix + name + b"/", tree, known)
            finally:
                os.close(child)


def _by_kernel(dir_fd: int, name: bytes) -> Seen:
    info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    path = b"/proc/self/fd/%d/" % dir_fd + name
    xattrs = {
        os.fsencode(key): os.getxattr(path, key, follow_symlinks=False)
        for key in os.listxattr(path, follow_symlinks=False)
        if not key.startswith("trusted.SGI_ACL_")  # the same ACLs again, in the form they have on disk
    }
    target, ranges, digest = b"", [], ""
    if stat.S_ISLNK(info.st_mode):
        target = os.readlink(name, dir_fd=dir_fd)
    elif stat.S_ISREG(info.st_mode):
        file = os.open(name, os.O_RDONLY, dir_fd=dir_fd)
        try:
            ranges = list(_ranges_by_kernel(file, info.st_size))
            digest = _digest(ranges, lambda offset, length: os.pread(file, length, offset))
        finally:
            os.close(file)
    numbers = (
        info.st_ino, info.st_mode, info.st_nlink, info.st_uid, info.st_gid, info.st_rdev, info.st_size,
        info.st_blocks, info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns,
    )  # fmt: skip
    kind = stat.S_IFMT(info.st_mode)
    return Seen(numbers, kind, target, tuple(ranges), digest, tuple(sorted(xattrs.items())))


def _ranges_by_kernel(file: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(file, start, os.SEEK_HOLE)
        yield start, at - start


def by_reader(files: FileSystem) -> Tree:
    """The same of an image. Every name that is listed is looked up, too."""
    tree: Tree = {b".": _by_reader(files, files.root_inode, stat.S_IFDIR)}
    known: dict[int, Seen] = {}
    waiting = [(b"", files.root_inode)]
    while waiting:
        prefix, directory = waiting.pop()
        for entry in files.list(directory):
            assert files.lookup(directory, entry.name) == entry.inode
            if entry.inode not in known:
                known[entry.inode] = _by_reader(files, entry.inode, entry.file_type)
            assert entry.file_type == known[entry.inode].file_type
            tree[prefix + entry.name] = known[entry.inode]
            if entry.file_type == stat.S_IFDIR:
                waiting.append((prefix + entry.name + b"/", entry.inode))
    return tree


def _by_reader(files: FileSystem, inode: int, file_type: int) -> Seen:
    info = files.stat(inode)
    target, ranges, digest = b"", [], ""
    if stat.S_ISLNK(info.mode):
        target = files.readlink(inode)
    elif stat.S_ISREG(info.mode):
        ranges = list(files.data_ranges(inode))
        digest = _digest(ranges, lambda offset, length: files.read(inode, offset, length))
    xattrs = tuple(sorted(files.xattrs(inode).items()))
    return Seen(_numbers(info), file_type, target, tuple(ranges), digest, xattrs)


def _numbers(info: InodeStat) -> tuple[int, ...]:
    return (
        info.inode, info.mode, info.link_count, info.uid, info.gid, info.device, info.size_bytes,
        info.blocks, info.atime_ns, info.mtime_ns, info.ctime_ns,
    )  # fmt: skip


def _digest(ranges, read) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for start, length in ranges:
        for offset in range(start, start + length, _CHUNK):
            data = read(offset, min(_CHUNK, start + length - offset))
            assert len(data) == min(_CHUNK, start + length - offset)
            digest.update(data)
    return digest.hexdigest()
