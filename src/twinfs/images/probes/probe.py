"""All the probes, in an order that lets the surer ones speak first."""

from __future__ import annotations

import struct
from dataclasses import replace
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
            return _with_missing(found, source.size_bytes)
    return None


def _with_missing(found: Found, size_bytes: int) -> Found:
    missing = found.total_bytes - size_bytes
    # btrfs says how large all of its devices are, and others may be elsewhere.
    if missing <= 0 or not found.is_file_system or found.kind == "btrfs":
        return found
    said = f"the image is cut off: {missing} of {found.total_bytes} bytes are missing"
    return replace(found, warnings=(*found.warnings, said))


def is_known(disk: ByteSource, offset_bytes: int) -> bool:
    if not 0 <= offset_bytes < disk.size_bytes:
        return False
    try:
        return probe(Window(disk, offset_bytes, disk.size_bytes - offset_bytes)) is not None
    except ImageError:
        return False
