"""Extended attributes: within the inode, in leaves, or with values in blocks of their own.

Source: XFS Algorithms & Data Structures, "Extended Attributes".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from twinfs.errors import ImageError
from twinfs.images.xfs import acl, index
from twinfs.images.xfs.blocks import ForkBlocks
from twinfs.images.xfs.disk import Disk, Kind
from twinfs.images.xfs.inode import Fork, Format, Inode
from twinfs.images.xfs.mapping import Mapping

_LOCAL, _TRUSTED, _SECURITY, _PARENT, _INCOMPLETE = 0x01, 0x02, 0x04, 0x08, 0x80
_SHORT_HEADER = struct.Struct(">HBx")
_PAIR = struct.Struct(">IHBx")
_LOCAL_VALUE = struct.Struct(">HB")
_REMOTE_VALUE = struct.Struct(">IIB")
_LARGEST_VALUE = 1 << 16
_LARGEST_SUM = 64 << 20
"""Bytes of names and values of one inode; the kernel lists at most 64 KiB of names."""
_REMOTE = Kind("attribute value", 0, frozenset((b"XARM",)), 12, 40, 16, 32)
_REMOTE_HEADER = struct.Struct(">4sII")
_REMOTE_HEADER_SIZE = 56


class _Attribute(NamedTuple):
    """A name without its namespace, the flags that tell that, and the value or where it is."""

    name: bytes
    flags: int
    value: bytes
    remote: tuple[int, int] | None = None
    """The first block of the attribute fork and the length in bytes."""


def read_all(disk: Disk, inode: Inode, mapping: Mapping | None) -> dict[bytes, bytes]:
    """Every attribute by its full name, ACLs in the kernel's form. `mapping` is that of the attribute fork.

    Raises ImageError for what is damaged.
    """
    found: dict[bytes, bytes] = {}
    what = f"inode {inode.number}"
    total = 0
    blocks = ForkBlocks(disk, mapping, inode.number, disk.superblock.block_size) if mapping else None
    for attribute in _each(disk, inode, blocks, what):
        if attribute.flags & (_PARENT | _INCOMPLETE):
            continue  # a link back to a directory, of the file system's own; one that was never finished
        value = attribute.value
        if attribute.remote is not None and blocks is not None:
            value = _remote_value(disk, blocks, *attribute.remote)
        total += len(attribute.name) + len(value)
        if total > _LARGEST_SUM:
            raise ImageError(f"xfs: {what} has more than {_LARGEST_SUM} bytes of extended attributes")
        if not attribute.name or b"\0" in attribute.name:
            raise ImageError(f"xfs: {what} is damaged: an extended attribute named {attribute.name!r}")
        if attribute.flags & _TRUSTED and attribute.name in acl.NAMES:
            found[acl.NAMES[attribute.name]] = acl.to_xattr(value, what)
        else:
            found[_namespace(attribute.flags) + attribute.name] = value
    return found


def _namespace(flags: int) -> bytes:
    if flags & _TRUSTED:
        return b"trusted."
    return b"security." if flags & _SECURITY else b"user."


def _each(disk: Disk, inode: Inode, blocks: ForkBlocks | None, what: str) -> Iterator[_Attribute]:
    fork = inode.attributes
    if fork is None:
        return
    if fork.format == Format.LOCAL:
        yield from _short_form(fork, what)
    elif blocks is not None and has_blocks(fork):
        yield from _in_leaves(blocks, disk.superblock.has_checksums)


def has_blocks(fork: Fork) -> bool:
    """A fork is made before its first block is."""
    return fork.format == Format.BTREE or (fork.format == Format.EXTENTS and fork.extents > 0)


def _short_form(fork: Fork, what: str) -> Iterator[_Attribute]:
    data = fork.data
    if len(data) < _SHORT_HEADER.size:
        raise ImageError(f"xfs: {what} is damaged: no room for its extended attributes")
    _, count = _SHORT_HEADER.unpack_from(data)
    at = _SHORT_HEADER.size
    for _ in range(count):
        end = at + 3 + (data[at] + data[at + 1] if at + 3 <= len(data) else 0)
        if at + 3 > len(data) or end > len(data):
            raise ImageError(f"xfs: {what} is damaged: its extended attributes do not fit")
        value_at = at + 3 + data[at]
        yield _Attribute(data[at + 3 : value_at], data[at + 2], data[value_at:end])
        at = end


def _in_leaves(blocks: ForkBlocks, has_checksums: bool) -> Iterator[_Attribute]:
    """Leaf after leaf, from the one with the lowest hashes."""
    number = index.first_leaf(blocks, index.ATTRIBUTES, has_checksums)
    seen: set[int] = set()
    while True:
        block = blocks.read(number, index.ATTRIBUTES)
        if number in seen or index.is_node(block):
            raise ImageError(
                f"xfs: inode {blocks.owner} is damaged: its attribute leaves lead back to {number}"
            )
        seen.add(number)
        yield from _leaf(block, has_checksums, f"inode {blocks.owner}, attribute block {number}")
        number = int.from_bytes(block[:4], "big")
        if not number:
            return


def _leaf(block: bytes, has_checksums: bool, what: str) -> Iterator[_Attribute]:
    (count,) = struct.unpack_from(">H", block, 56 if has_checksums else 12)
    start = 80 if has_checksums else 32
    if start + count * _PAIR.size > len(block):
        raise ImageError(f"xfs: {what} is damaged: {count} attributes do not fit")
    for position in range(count):
        _, at, flags = _PAIR.unpack_from(block, start + position * _PAIR.size)
        yield _in_leaf(block, at, flags, what)


def _in_leaf(block: bytes, at: int, flags: int, what: str) -> _Attribute:
    shape = _LOCAL_VALUE if flags & _LOCAL else _REMOTE_VALUE
    if at + shape.size <= len(block):
        name_at = at + shape.size
        if flags & _LOCAL:
            length, name_length = shape.unpack_from(block, at)
            value_at = name_at + name_length
            if value_at + length <= len(block):
                return _Attribute(block[name_at:value_at], flags, block[value_at : value_at + length])
        else:
            first, length, name_length = shape.unpack_from(block, at)
            if name_at + name_length <= len(block) and length <= _LARGEST_VALUE:
                return _Attribute(block[name_at : name_at + name_length], flags, b"", (first, length))
    raise ImageError(f"xfs: {what} is damaged: an attribute at {at} does not fit")


def _remote_value(disk: Disk, blocks: ForkBlocks, first: int, length: int) -> bytes:
    """A value in blocks of its own; in version 5 each of them has a header."""
    superblock = disk.superblock
    header = _REMOTE_HEADER_SIZE if superblock.has_checksums else 0
    payload = superblock.block_size - header
    count = -(-length // payload)
    parts = []
    for number in range(first, first + count) if header else ():
        raw = blocks.read(number, _REMOTE)
        _, offset, size = _REMOTE_HEADER.unpack_from(raw)
        if offset != (number - first) * payload or size > payload:
            raise ImageError(f"xfs: inode {blocks.owner} is damaged: an attribute value's block {number}")
        parts.append(raw[header : header + size])
    if not header and count:
        for place, size in blocks.pieces(first, count, _REMOTE.name):
            parts.append(disk.read(place, size, _REMOTE.name))
    value = b"".join(parts)[:length]
    if len(value) != length:
        raise ImageError(
            f"xfs: inode {blocks.owner} is damaged: an attribute value of {length} bytes is cut off"
        )
    return value
