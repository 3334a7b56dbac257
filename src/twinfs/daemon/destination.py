"""Where `--to` leads: into a directory that is there, else under that name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from twinfs.errors import UsageError


@contextlib.contextmanager
def opened(directory: str) -> Iterator[int]:
    """A descriptor of it."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def destination(to: str, name: bytes) -> Iterator[tuple[int, bytes]]:
    """(descriptor of a directory, name in it); `name` is what it is called where `to` is a directory.
    UsageError: there is no directory to put it in."""
    place = os.path.abspath(to)
    directory, last = (place, name) if os.path.isdir(place) else _split(place)
    try:
        with opened(directory) as fd:
            yield fd, last
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename != directory:
            raise
        raise UsageError(f"--to: {directory}: {error.strerror}") from None


def _split(place: str) -> tuple[str, bytes]:
    directory, name = os.path.split(place)
    return directory, os.fsencode(name)
