"""POSIX ACLs from the form that ext keeps on disk to the one that getxattr(2) gives.

Sources: fs/ext4/acl.h (version 1) and include/uapi/linux/posix_acl_xattr.h (version 2) of Linux.
"""

from __future__ import annotations

import struct
from typing import Final

NAMES: Final = (b"system.posix_acl_access", b"system.posix_acl_default")
_USER: Final = 0x02
_GROUP: Final = 0x08
_NO_ID: Final = 0xFFFFFFFF


def to_kernel_form(value: bytes) -> bytes | None:
    """None where the value is no ACL of version 1."""
    if len(value) < 4 or struct.unpack_from("<I", value)[0] != 1:
        return None
    parts = [struct.pack("<I", 2)]
    at = 4
    while at + 4 <= len(value):
        tag, permissions = struct.unpack_from("<HH", value, at)
        at += 4
        owner = _NO_ID
        if tag in (_USER, _GROUP):
            if at + 4 > len(value):
                return None
            (owner,) = struct.unpack_from("<I", value, at)
            at += 4
        parts.append(struct.pack("<HHI", tag, permissions, owner))
    return b"".join(parts) if at == len(value) else None
