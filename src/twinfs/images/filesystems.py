"""Who reads which file system."""

from __future__ import annotations

from collections.abc import Iterable

from twinfs.images.probes import Found
from twinfs.images.protocol import ByteSource, FileSystem


def open_file_system(source: ByteSource, found: Found, place: int = 0) -> FileSystem | None:
    """None: nobody here can read it. Raises ImageError where it is damaged.

    `place` tells which of several volumes that share the blocks; 0: the first that can be read.
    """
    if found.kind == "xfs":
        from twinfs.images import xfs

        return xfs.open_file_system(source)
    if found.kind == "erofs":
        from twinfs.images import erofs

        return erofs.open_file_system(source)
    # Imported when needed: the library takes a tenth of a second, and `image info` needs none of it.
    from twinfs.images import explorer

    return explorer.open_file_system(source, found, place)


def prepare(kinds: Iterable[str]) -> None:
    """Import what reads them."""
    others = set(kinds) - {"xfs", "erofs"}
    if others:
        from twinfs.images import explorer

        explorer.prepare(others)
