"""Paths within an image, such as /p1/etc/hosts."""

from __future__ import annotations

import stat

from twinfs.errors import ImageError
from twinfs.images.protocol import FileSystem


def resolve(tree: FileSystem, path: bytes) -> int:
    """The inode a path leads to. Symbolic links are not followed: where they lead is not ours to say.

    A file on the way is taken for an image within the image. Raises ImageError.
    """
    inode = tree.root_inode
    done = b""
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        holder, done = done, done + b"/" + part
        try:
            found = tree.lookup(inode, part)
        except ImageError:
            if stat.S_IFMT(tree.stat(inode).mode) not in (stat.S_IFDIR, stat.S_IFREG):
                raise ImageError(f"{holder.decode(errors='surrogateescape')}: not a directory") from None
            raise
        if found is None:
            raise ImageError(f"{done.decode(errors='surrogateescape')}: not in the image")
        inode = found
    return inode
