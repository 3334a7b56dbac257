"""All the probes, in an order that lets the surer ones speak first."""

from __future__ import annotations

import struct
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.probes import apple, linux, optical, others, windows
from twinfs.images.probes.found import Found
from twinfs.images.protocol import ByteSource
from twinfs.images.sources import Window

# FAT late: its signature is no more than a plausible boot sector, which others have as well.
_PROBES: Final = (
    others.luks,
    others.lvm,
    linux.xfs,
    linux.squashfs,
    linux.btrfs,
    linux.erofs,
    windows.ntfs,
    windows.exfat,
    optical.iso9660,
    optical.udf,
    apple.apfs,
    apple.hfsplus,
    linux.ext,
    others.swap,
    windows.fat,
    others.signature,
)


def probe(source: ByteSource) -> Found | None:
    """None: nothing that is known here. Raises ImageError only where the source cannot be read."""
    for each in _PROBES:
        try:
            found = each(source)
        except (struct.error, ValueError, IndexError, OverflowError):
            continue  # damaged beyond what the probe looks at: so it is not known
        if found is not None:
            return found
    return None


def is_known(disk: ByteSource, offset_bytes: int) -> bool:
    if not 0 <= offset_bytes < disk.size_bytes:
        return False
    try:
        return probe(Window(disk, offset_bytes, disk.size_bytes - offset_bytes)) is not None
    except ImageError:
        return False
