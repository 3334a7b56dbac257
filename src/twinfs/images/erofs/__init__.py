"""EROFS, read-only: plain files, with their ends inline or in chunks, and compressed.

Sources: Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h, zmap.c and decompressor.c of Linux.
"""

from __future__ import annotations

from twinfs.images.erofs.file_system import ErofsFileSystem
from twinfs.images.erofs.superblock import Disk
from twinfs.images.protocol import ByteSource

__all__ = ["open_file_system"]


def open_file_system(source: ByteSource) -> ErofsFileSystem:
    """Raises ImageError where it is damaged, or of a kind that is not known here."""
    return ErofsFileSystem(Disk(source))
