"""A reader for one command: of an image file, or of a snapshot of a running machine's disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twinfs.cli.image_parameters import passphrase_in
from twinfs.daemon.paths import Paths
from twinfs.images.running.using import opened
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
