"""`twinfs image extract`."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.image_parameters import ImagePath, OverlayDirectory, PassphraseFile, PathInside
from twinfs.cli.image_reader import merged_tree_of
from twinfs.cli.parameters import InjectedPaths
from twinfs.cli.progress import ProgressDisplay
from twinfs.cli.talk import say
from twinfs.errors import ImageError
from twinfs.images.extract import Extracted, Extractor
from twinfs.images.paths import resolve
from twinfs.model import Progress
from twinfs.report.human import count, size
from twinfs.report.image_text import printable


def extract(
    image: ImagePath,
    path: PathInside,
    destination: Annotated[str, Parameter(help="A directory to put it in, or the name it gets.")],
    /,
    *,
    passphrase_file: PassphraseFile = None,
    overlay: OverlayDirectory = None,
    paths: InjectedPaths,
) -> int:
    """Copy a file or directory out of an image.

    Keeps modes, times, hard and symbolic links, extended attributes and
    holes; owners and device nodes as root only. Replaces nothing that is
    there, and never writes through a symbolic link.

    Ends with 1 when something could not be copied; it is named, and the
    rest is there.

    For example:

        twinfs image extract disk.img /p1/home/anna /tmp
        twinfs image extract backup.qcow2 /p2/etc /tmp/old_etc
        twinfs image extract --overlay changes disk.img /p1 /tmp/changed
    """
    with (
        merged_tree_of(paths, image, passphrase_file=passphrase_file, overlay=overlay) as tree,
        ProgressDisplay() as display,
    ):
        inside = os.fsencode(path)
        inode = resolve(tree, inside)
        directory_fd, name = _place(os.fsencode(destination), inside)

        def tell(done: Extracted) -> None:
            display(Progress("copying", done.files, 0, done.bytes, 0, ""))

        def fail(where: bytes, reason: str) -> None:
            say(f"twinfs: {printable(where.decode(errors='backslashreplace'))}: {reason}")

        try:
            extractor = Extractor(tree, directory_fd, on_failure=fail, on_progress=tell)
            done = extractor.extract(inode, name) if name else extractor.contents(inode)
        except OSError as error:
            raise ImageError(f"{destination}: {error.strerror}") from None
        finally:
            os.close(directory_fd)
    say(f"copied {count(done.files, 'object')}, {size(done.bytes)}")
    return 1 if done.failures else 0


def _place(destination: bytes, inside: bytes) -> tuple[int, bytes]:
    """The directory to work in, and the name to make there; an empty name: what is in PATH."""
    names = [part for part in inside.split(b"/") if part not in (b"", b".")]
    parent, name = os.path.split(destination.rstrip(b"/") or b"/")
    if os.path.isdir(destination):
        parent, name = destination, names[-1] if names else b""
    elif not names:
        os.makedirs(destination)
        parent, name = destination, b""
    try:
        return os.open(parent or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), name
    except OSError as error:
        raise ImageError(f"{os.fsdecode(parent)}: {error.strerror}") from None
