"""Extended attributes: behind the inode, and those that many inodes share."""

from __future__ import annotations

import struct
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.erofs.inode import Inode
from twinfs.images.erofs.superblock import Disk

_HEAD: Final = 12
_ENTRY: Final = struct.Struct("<BBH")
_LONG_PREFIX: Final = 0x80
_PREFIXES: Final = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
}


def read_all(disk: Disk, inode: Inode) -> dict[bytes, bytes]:
    """Raises ImageError."""
    if not inode.xattrs_length:
        return {}
    what = f"attributes of inode {inode.number}"
    raw = disk.read(inode.xattrs_bytes, inode.xattrs_length, what)
    shared_count = raw[4]
    at = _HEAD + 4 * shared_count
    if at > len(raw):
        raise ImageError(f"erofs: {what} are damaged")
    found: dict[bytes, bytes] = {}
    for (place,) in struct.iter_unpack("<I", raw[_HEAD:at]):
        start = disk.shared_xattrs_bytes + 4 * place
        name_bytes, _, value_bytes = _ENTRY.unpack(disk.read(start, _ENTRY.size, what))
        _take(disk.read(start, _ENTRY.size + name_bytes + value_bytes, what), 0, found, what)
    while at + _ENTRY.size <= len(raw):
        at = -(-_take(raw, at, found, what) // 4) * 4
    return found


def _take(raw: bytes, at: int, found: dict[bytes, bytes], what: str) -> int:
    """Where the next one begins."""
    name_bytes, prefix, value_bytes = _ENTRY.unpack_from(raw, at)
    middle = at + _ENTRY.size + name_bytes
    end: int = middle + value_bytes
    if prefix == 0 and name_bytes == 0 and value_bytes == 0:
        return end  # nothing: what fills up the last four bytes
    if prefix & _LONG_PREFIX or prefix not in _PREFIXES or end > len(raw):
        raise ImageError(f"erofs: {what}: a name that is not known here, or damaged")
    found[_PREFIXES[prefix] + raw[at + _ENTRY.size : middle]] = raw[middle:end]
    return end
