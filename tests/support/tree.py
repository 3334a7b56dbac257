"""A directory tree as a value, so that two can be compared.

Walks by directory descriptors: trees deeper than PATH_MAX and names that are not UTF-8 are part of the tests.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

_BLOCK = 1 << 16
_OLD_NS = 1_500_000_000 * 10**9  # July 2017: what lies before it was set by a test, never by the clock


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of a tree. `twin` is the first other name of the same inode, in sorted order."""

    mode: str
    uid: int
    gid: int
    size: int
    nlink: int
    rdev: int
    mtime_ns: int
    target: bytes
    content: str
    xattrs: tuple[tuple[str, bytes], ...]
    twin: bytes
    blocks: int


Tree = dict[bytes, Entry]


def snapshot(root: str | os.PathLike[str], *, content: bool = True) -> Tree:
    """Every entry below `root` and `root` itself (as b"."), leaving out .twinfs at the root."""
    tree: Tree = {}
    firsts: dict[int, bytes] = {}
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        tree[b"."] = _entry(root_fd, b".", b".", firsts, content)
        for path, dir_fd, name in _walk(root_fd, b""):
            if path != b".twinfs" and not path.startswith(b".twinfs/"):
                tree[path] = _entry(dir_fd, name, path, firsts, content)
    finally:
        os.close(root_fd)
    return tree


def _walk(dir_fd: int, prefix: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    for name in sorted(os.fsencode(name) for name in os.listdir(dir_fd)):
        yield prefix + name, dir_fd, name
        if stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            child_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)
            try:
                yield from _walk(child_fd, prefix + name + b"/")
            finally:
                os.close(child_fd)


def _entry(dir_fd: int, name: bytes, path: bytes, firsts: dict[int, bytes], content: bool) -> Entry:
    info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    is_dir, is_file = stat.S_ISDIR(info.st_mode), stat.S_ISREG(info.st_mode)
    return Entry(
        mode=stat.filemode(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        size=0 if is_dir else info.st_size,
        nlink=0 if is_dir else info.st_nlink,
        rdev=info.st_rdev,
        mtime_ns=info.st_mtime_ns,
        target=os.readlink(name, dir_fd=dir_fd) if stat.S_ISLNK(info.st_mode) else b"",
        content=digest_at(dir_fd, name) if is_file and content else "",
        xattrs=_xattrs(dir_fd, name),
        twin=path if is_dir else firsts.setdefault(info.st_ino, path),
        blocks=0 if is_dir else info.st_blocks,
    )


def _xattrs(dir_fd: int, name: bytes) -> tuple[tuple[str, bytes], ...]:
    # lgetxattr has no *at form; the detour through /proc stays short however deep the directory lies.
    path = b"/proc/self/fd/%d/%s" % (dir_fd, name)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return tuple((key, os.getxattr(path, key, follow_symlinks=False)) for key in names)


def digest_at(dir_fd: int | None, name: bytes | str | os.PathLike[str]) -> str:
    """A hash of a file's content in which holes and written zeros are the same; reads data only."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=dir_fd)
    try:
        hasher = hashlib.blake2b(digest_size=16)
        for offset, block in _data_blocks(fd):
            if block.strip(b"\0"):
                hasher.update(b"%d:" % offset + block)
        return hasher.hexdigest()
    finally:
        os.close(fd)


def _data_blocks(fd: int) -> Iterator[tuple[int, bytes]]:
    size = os.fstat(fd).st_size
    position = 0
    while position < size:
        try:
            position = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:
            return  # ENXIO: only a hole is left
        position -= position % _BLOCK
        block = os.pread(fd, _BLOCK, position)
        if not block:
            return
        yield position, block
        position += _BLOCK


def differences(left: Tree, right: Tree, *, ignore: frozenset[str] = frozenset()) -> list[str]:
    """What distinguishes two trees, a line each. `ignore` names fields of Entry, "dir_mtime" or "old_only".

    Times of directories are left out with "dir_mtime"; with "old_only" times count only where a test set one.
    """
    lines = [f"only left: {path!r}" for path in sorted(left.keys() - right.keys())]
    lines += [f"only right: {path!r}" for path in sorted(right.keys() - left.keys())]
    for path in sorted(left.keys() & right.keys()):
        lines += _entry_differences(path, left[path], right[path], ignore)
    return lines


def _entry_differences(path: bytes, left: Entry, right: Entry, ignore: frozenset[str]) -> list[str]:
    lines = []
    for field in (field.name for field in fields(Entry)):
        ours, theirs = getattr(left, field), getattr(right, field)
        if field in ignore or field == "blocks" or ours == theirs:
            continue
        if field == "mtime_ns" and _time_is_ignored(left, right, ignore):
            continue
        lines.append(f"{path!r}: {field} {ours!r} != {theirs!r}")
    if "blocks" not in ignore and right.blocks > 2 * left.blocks + 2048:
        lines.append(f"{path!r}: holes were filled, {left.blocks} blocks became {right.blocks}")
    return lines


def _time_is_ignored(left: Entry, right: Entry, ignore: frozenset[str]) -> bool:
    if "dir_mtime" in ignore and left.mode.startswith("d"):
        return True
    return "old_only" in ignore and left.mtime_ns > _OLD_NS and right.mtime_ns > _OLD_NS


def assert_same(
    left: Path, right: Path, *, ignore: frozenset[str] = frozenset(), content: bool = True
) -> None:
    found = differences(snapshot(left, content=content), snapshot(right, content=content), ignore=ignore)
    assert not found, f"{left} and {right} differ:\n" + "\n".join(found[:60])
