"""What a command looks at: an image, a snapshot of a running machine's disk, or an image with its changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twinfs.cli.image_parameters import passphrase_in
from twinfs.daemon.paths import Paths
from twinfs.images.protocol import FileSystem
from twinfs.images.running.using import opened, refuse_overlay
from twinfs.images.worker.client import ReaderClient
from twinfs.images.worker.remote import RemoteTree


@contextmanager
def tree_of(
    paths: Paths, image: str, *, map_file: str | None = None, passphrase_file: str | None
) -> Iterator[RemoteTree]:
    """Raises ImageError, also where a running machine writes to the image."""
    passphrase = passphrase_in(passphrase_file)
    with (
        opened(image, paths.run_dir) as export,
        ReaderClient(image, map_file, passphrase, export=export) as reader,
    ):
        yield RemoteTree(reader)


@contextmanager
def merged_tree_of(
    paths: Paths, image: str, *, passphrase_file: str | None, overlay: str | None
) -> Iterator[FileSystem]:
    """As `tree_of`; with an overlay, the image as its changes make it.

    Raises ImageError also where the overlay is mounted now, or belongs to another image.
    """
    if overlay is not None:
        refuse_overlay(image)
    with tree_of(paths, image, passphrase_file=passphrase_file) as tree:
        if overlay is None:
            yield tree
            return
        from twinfs.images.overlay import Store
        from twinfs.images.overlay.merged import MergedTree

        store = Store(overlay)
        try:
            store.check_image(image, tree.fingerprint())
            yield MergedTree(tree, store)
        finally:
            store.close()
