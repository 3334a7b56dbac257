"""The tree that a command looks at: an image's, or an image's with its changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twinfs.images.protocol import FileSystem
from twinfs.images.worker.client import ReaderClient
from twinfs.images.worker.remote import RemoteTree


@contextmanager
def opened(image: str, passphrase: bytes | None, overlay: str | None = None) -> Iterator[FileSystem]:
    """Raises ImageError; with an overlay also where that is mounted now, or belongs to another image."""
    with ReaderClient(image, passphrase=passphrase) as reader:
        tree = RemoteTree(reader)
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
