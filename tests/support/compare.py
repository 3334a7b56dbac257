"""Compares a file system out of an image with the manifest of what was put in."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from support.odd_tree import Expected, digest_of
from twinfs.images.protocol import FileSystem


@dataclass(frozen=True)
class Keeps:
    """What a format keeps exactly."""

    modes: bool = True
    owners: bool = True
    links: bool = True
    times_ns: int = 1
    """Its resolution; 0: not compared."""
    xattr_prefixes: tuple[bytes, ...] = (b"user.", b"trusted.", b"security.")
    devices: bool = True


def found_in(tree: FileSystem, top: int, keeps: Keeps) -> dict[bytes, Expected]:
    return dict(_walk(tree, top, b"", keeps))


def _walk(tree: FileSystem, inode: int, path: bytes, keeps: Keeps) -> Iterator[tuple[bytes, Expected]]:
    for entry in tree.list(inode):
        found = tree.stat(entry.inode)
        assert tree.lookup(inode, entry.name) == entry.inode
        assert stat.S_IFMT(found.mode) == entry.file_type
        below = path + entry.name
        kind = stat.S_IFMT(found.mode)
        yield (
            below,
            Expected(
                kind=kind,
                size=found.size_bytes,
                digest=digest_in(tree, entry.inode) if kind == stat.S_IFREG else "",
                target=tree.readlink(entry.inode) if kind == stat.S_IFLNK else b"",
                mode=stat.S_IMODE(found.mode),
                uid=found.uid,
                gid=found.gid,
                mtime_ns=found.mtime_ns,
                links=found.link_count,
                device=found.device,
                xattrs=tree.xattrs(entry.inode),
            ),
        )
        if kind == stat.S_IFDIR:
            yield from _walk(tree, entry.inode, below + b"/", keeps)


def digest_in(tree: FileSystem, inode: int) -> str:
    size = tree.stat(inode).size_bytes

    def pieces() -> Iterator[tuple[int, bytes]]:
        for start, length in tree.data_ranges(inode):
            at = start
            while at < min(start + length, size):
                piece = tree.read(inode, at, min(1 << 20, start + length - at))
                assert piece, f"nothing at {at} of {size}"
                yield at, piece
                at += len(piece)

    return digest_of(size, pieces())


def assert_same(
    found: dict[bytes, Expected],
    expected: dict[bytes, Expected],
    keeps: Keeps,
    *,
    extra: Iterable[bytes] = (),
) -> None:
    names = set(found) - set(extra)
    assert names == set(expected), (
        f"missing: {sorted(set(expected) - names)[:5]}, too much: {sorted(names - set(expected))[:5]}"
    )
    for path, wanted in expected.items():
        differences = list(_differences(found[path], wanted, keeps))
        assert not differences, f"{path!r}: {differences}"


def _differences(found: Expected, wanted: Expected, keeps: Keeps) -> Iterator[str]:
    pairs = [("kind", found.kind, wanted.kind), ("target", found.target, wanted.target)]
    if wanted.kind == stat.S_IFREG:
        pairs += [("size", found.size, wanted.size), ("content", found.digest, wanted.digest)]
    if keeps.modes and wanted.kind != stat.S_IFLNK:
        pairs.append(("mode", found.mode, wanted.mode))
    if keeps.owners:
        pairs.append(("owner", (found.uid, found.gid), (wanted.uid, wanted.gid)))
    if keeps.links and wanted.kind == stat.S_IFREG:
        pairs.append(("links", found.links, wanted.links))
    if keeps.devices:
        pairs.append(("device", found.device, wanted.device))
    if keeps.times_ns and wanted.kind == stat.S_IFREG:
        unit = keeps.times_ns
        pairs.append(("mtime", found.mtime_ns // unit, wanted.mtime_ns // unit))
    pairs.append(("xattrs", found.xattrs, _kept(wanted.xattrs, keeps)))
    for name, ours, theirs in pairs:
        if ours != theirs:
            yield f"{name} is {ours!r}, was {theirs!r}"


def _kept(xattrs: dict[bytes, bytes], keeps: Keeps) -> dict[bytes, bytes]:
    return {name: value for name, value in xattrs.items() if name.startswith(keeps.xattr_prefixes)}
