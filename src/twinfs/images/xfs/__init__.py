"""Reads XFS, versions 4 and 5, from a window of bytes. Our own, from the published format.

Source: XFS Algorithms & Data Structures, 3rd edition, and the on-disk structures in Linux's
fs/xfs/libxfs/xfs_format.h and xfs_da_format.h.
"""

from __future__ import annotations

from twinfs.images.protocol import ByteSource, FileSystem
from twinfs.images.xfs.file_system import XfsFileSystem
from twinfs.images.xfs.superblock import LARGEST_SECTOR, MAGIC, SMALLEST, parse

__all__ = ["XfsFileSystem", "open_file_system"]


def open_file_system(source: ByteSource) -> FileSystem | None:
    """The XFS file system that fills a source; None where there is another one, or none.

    Raises ImageError where there is one that cannot be read: damaged, unfinished or of unknown features.
    """
    sector = source.read_at(0, LARGEST_SECTOR)
    if len(sector) < SMALLEST or not sector.startswith(MAGIC):
        return None
    return XfsFileSystem(source, parse(sector))
