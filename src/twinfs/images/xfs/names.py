"""Names: their hash, and the letter case that some file systems ignore.

Source: XFS Algorithms & Data Structures, "Directory and Attribute B+trees"; Linux, xfs_ascii_ci_xfrm().
"""

from __future__ import annotations

# ASCII and Latin-1 letters but the multiplication sign, as the kernel folds them.
_CAPITALS = bytes([*range(0x41, 0x5B), *range(0xC0, 0xD7), *range(0xD8, 0xDF)])
_FOLD = bytes.maketrans(_CAPITALS, bytes(letter + 32 for letter in _CAPITALS))


def fold(name: bytes) -> bytes:
    """As compared where case is ignored (mkfs.xfs -n version=ci)."""
    return name.translate(_FOLD)


def hash_of(name: bytes) -> int:
    """The 32-bit hash that directories and attributes are sorted by."""
    value = 0
    whole = len(name) & ~3
    for at in range(0, whole, 4):
        value = (value << 28 | value >> 4) & 0xFFFFFFFF
        value ^= name[at] << 21 ^ name[at + 1] << 14 ^ name[at + 2] << 7 ^ name[at + 3]
    rest = len(name) - whole
    if rest:
        bits = 7 * rest
        value = (value << bits | value >> (32 - bits)) & 0xFFFFFFFF
        for byte in name[whole:]:
            rest -= 1
            value ^= byte << (7 * rest)
    return value & 0xFFFFFFFF


def is_possible(name: bytes) -> bool:
    """Whether a name may be in a directory; `.` and `..` are none of its names."""
    return bool(name) and name not in (b".", b"..") and b"/" not in name and b"\0" not in name
