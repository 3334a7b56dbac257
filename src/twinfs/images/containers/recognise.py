"""What a file is, told from its bytes. Sources: each format's own specification, first page."""

from __future__ import annotations

from typing import Final

from twinfs.errors import ImageError
from twinfs.images.protocol import ByteSource

_HEADS: Final = (
    ("qcow2", b"QFI\xfb\0\0\0\x02"),
    ("qcow2", b"QFI\xfb\0\0\0\x03"),
    ("vmdk", b"KDMV"),
    ("vmdk", b"COWD"),
    ("vhdx", b"vhdxfile"),
    ("ewf", b"EVF\x09\x0d\x0a\xff\x00"),
    ("ewf2", b"EVF2\x0d\x0a\x81\x00"),
    ("gzip", b"\x1f\x8b\x08"),
    ("xz", b"\xfd7zXZ\0"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
)
_VDI_MAGIC: Final = b"\x7f\x10\xda\xbe"
_DESCRIPTOR: Final = b"# Disk DescriptorFile"


def last_sector(source: ByteSource) -> bytes | None:
    """None where it cannot be read, as in an image that was cut off: the rest may be as it was."""
    try:
        return source.read_at(max(0, source.size_bytes - 512), 512)
    except ImageError:
        return None


def recognise(source: ByteSource) -> str:
    """`raw` for whatever is not known to be something else."""
    head = source.read_at(0, 512)
    for kind, magic in _HEADS:
        if head.startswith(magic):
            return kind
    if head[64:68] == _VDI_MAGIC:
        return "vdi"
    if head.lstrip()[: len(_DESCRIPTOR)].lower() == _DESCRIPTOR.lower():
        return "vmdk"
    # Those two keep their mark at the end. A fixed VHD differs from a raw image in nothing else.
    tail = last_sector(source) or b""
    if tail.startswith(b"conectix") or head.startswith(b"conectix"):
        return "vhd"
    if len(tail) == 512 and tail.startswith(b"koly") and tail[4:8] == b"\0\0\0\x04":
        return "dmg"
    return "raw"
