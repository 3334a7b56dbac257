"""What POSIX ACLs mean for modes: no file system beneath does it. See acl(5), linux/posix_acl_xattr.h."""

from __future__ import annotations

import struct
from typing import Final

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"
_HEAD: Final = struct.pack("<I", 2)
_ENTRY: Final = struct.Struct("<HHI")
_OWNER, _GROUP, _MASK, _OTHER = 0x01, 0x04, 0x10, 0x20
_SHIFTS: Final = {_OWNER: 6, _MASK: 3, _OTHER: 0}

_Acl = list[tuple[int, int, int]]
"""(tag, permissions, id) of each entry."""


def _parsed(value: bytes) -> _Acl | None:
    if value[:4] != _HEAD or (len(value) - 4) % _ENTRY.size:
        return None
    return list(_ENTRY.iter_unpack(value[4:]))


def _packed(acl: _Acl) -> bytes:
    return _HEAD + b"".join(_ENTRY.pack(*entry) for entry in acl)


def _shifts(acl: _Acl) -> dict[int, int]:
    """Where each entry's permissions are in a mode: with a mask, the group's are the mask's."""
    return _SHIFTS if any(tag == _MASK for tag, _, _ in acl) else {**_SHIFTS, _GROUP: 3}


def mode_with(value: bytes, mode: int) -> int:
    """The mode of an object that is given this access ACL."""
    acl = _parsed(value)
    if acl is None:
        return mode
    shifts = _shifts(acl)
    for tag, permissions, _ in acl:
        if tag in shifts:
            mode = mode & ~(7 << shifts[tag]) | (permissions & 7) << shifts[tag]
    return mode


def without_writing(value: bytes) -> bytes:
    """The access ACL less all rights to write."""
    acl = _parsed(value)
    return value if acl is None else _packed([(tag, permissions & 5, who) for tag, permissions, who in acl])


def for_readers_to_enter(value: bytes) -> bytes:
    """The access ACL of a directory that may be entered by who may read a file with this one."""
    acl = _parsed(value)
    if acl is None:
        return value
    return _packed([(tag, 5 if permissions & 4 else 0, who) for tag, permissions, who in acl])


def is_minimal(value: bytes) -> bool:
    """Whether it says no more than a mode does, so that it need not be kept."""
    acl = _parsed(value)
    return acl is not None and {tag for tag, _, _ in acl} <= {_OWNER, _GROUP, _OTHER}


def after_chmod(value: bytes, mode: int) -> bytes:
    """The access ACL of an object that is given this mode."""
    acl = _parsed(value)
    if acl is None:
        return value
    shifts = _shifts(acl)
    return _packed([(tag, mode >> shifts[tag] & 7 if tag in shifts else old, who) for tag, old, who in acl])


def inherited(default: bytes, mode: int) -> tuple[bytes, int]:
    """The access ACL and the mode of what is made, as `mode`, in a directory with this default ACL."""
    acl = _parsed(default)
    if acl is None:
        return b"", mode
    shifts = _shifts(acl)
    limited = [(tag, old & (mode >> shifts[tag] & 7 if tag in shifts else 7), who) for tag, old, who in acl]
    value = _packed(limited)
    return (b"" if is_minimal(value) else value), mode_with(value, mode)
