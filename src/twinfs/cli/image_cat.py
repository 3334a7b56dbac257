"""`twinfs image cat`."""

from __future__ import annotations

import os
import stat
import sys

from twinfs.cli.image_parameters import ImagePath, OverlayDirectory, PassphraseFile, PathInside
from twinfs.cli.image_reader import merged_tree_of
from twinfs.cli.parameters import InjectedPaths
from twinfs.errors import ImageError
from twinfs.images.paths import resolve

_CHUNK_BYTES = 4 << 20


def cat(
    image: ImagePath,
    path: PathInside,
    /,
    *,
    passphrase_file: PassphraseFile = None,
    overlay: OverlayDirectory = None,
    paths: InjectedPaths,
) -> int:
    """Write a file of an image to standard output.

    /p1.img is all of partition 1, /disk.img all of the disk, whatever the
    image file's format.

    For example:

        twinfs image cat disk.img /p1/etc/hosts
        twinfs image cat disk.qcow2 /p2.img > partition.img
    """
    with merged_tree_of(paths, image, passphrase_file=passphrase_file, overlay=overlay) as tree:
        inode = resolve(tree, os.fsencode(path))
        found = tree.stat(inode)
        if not stat.S_ISREG(found.mode):
            raise ImageError(f"{path}: not a file")
        position = 0
        while position < found.size_bytes:
            piece = tree.read(inode, position, _CHUNK_BYTES)
            if not piece:
                raise ImageError(f"{path}: ends at byte {position}, before its size says")
            sys.stdout.buffer.write(piece)
            position += len(piece)
        sys.stdout.buffer.flush()
    return 0
