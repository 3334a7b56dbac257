"""POSIX ACLs: from the form they have on disk to that of the kernel's extended attributes.

Source: Linux, fs/xfs/libxfs/xfs_format.h (struct xfs_acl) and include/uapi/linux/posix_acl_xattr.h.
"""

from __future__ import annotations

import struct

from twinfs.errors import ImageError

NAMES = {b"SGI_ACL_FILE": b"system.posix_acl_access", b"SGI_ACL_DEFAULT": b"system.posix_acl_default"}
"""Of the trusted namespace on disk; what getxattr(2) calls it."""
_COUNT = struct.Struct(">I")
_ON_DISK = struct.Struct(">IIHH")
_VERSION = struct.pack("<I", 2)
_AS_XATTR = struct.Struct("<HHI")
_USER, _GROUP = 0x02, 0x08
_NOBODY = 0xFFFFFFFF


def to_xattr(raw: bytes, what: str) -> bytes:
    """An ACL as getxattr(2) gives it. Entries are the big-endian tag, id, permissions and 2 unused bytes."""
    count = _COUNT.unpack_from(raw)[0] if len(raw) >= _COUNT.size else -1
    if _COUNT.size + count * _ON_DISK.size != len(raw):
        raise ImageError(f"xfs: {what} is damaged: an ACL of {count} entries in {len(raw)} bytes")
    entries = [
        # Only users and groups that are named have an id.
        _AS_XATTR.pack(tag & 0xFFFF, permissions, owner if tag in (_USER, _GROUP) else _NOBODY)
        for tag, owner, permissions, _ in _ON_DISK.iter_unpack(raw[_COUNT.size :])
    ]
    return _VERSION + b"".join(entries)
