"""Proof by sample: some of what was copied to a leg that came back is read from its disk and compared.

A disk that comes back after a failure may take everything it is given and keep none of it.
"""

from __future__ import annotations

import os
import random
from functools import partial
from typing import Final

from twinfs.fsio.copy import UnreadableError, is_same_content
from twinfs.fsio.metadata import reading_source
from twinfs.fsio.syscalls import open_beneath
from twinfs.mirror.core import Core
from twinfs.mirror.failures import UNEXPECTED, is_leg_failure

_SAMPLE_FILES: Final = 32
_LARGEST_BYTES: Final = 64 * 1024 * 1024


class Sample:
    """Some of the paths that it is told of, each with the same chance; see "reservoir sampling"."""

    def __init__(self) -> None:
        self._paths: list[bytes] = []
        self._seen = 0

    def add(self, path: bytes) -> None:
        self._seen += 1
        if len(self._paths) < _SAMPLE_FILES:
            self._paths.append(path)
        elif (place := random.randrange(self._seen)) < _SAMPLE_FILES:
            self._paths[place] = path

    async def compare(self, core: Core) -> tuple[int, list[bytes]]:
        """(files compared, paths that differ); forgets them. Files that are in use are left out. OSError when
        the secondary fails."""
        paths, self._paths, self._seen = self._paths, [], 0
        compared, differing = 0, []
        for path in paths:
            version = core.names_number
            is_equal = await core.attachment.call(
                partial(_is_equal, core.primary_fd, core.applier.root_fd, path)
            )
            if is_equal is None or core.names_number != version or _is_in_use(core, path):
                continue
            compared += 1
            if not is_equal:
                differing.append(path)
        return compared, differing


def _is_in_use(core: Core, path: bytes) -> bool:
    return any(node.path() == path for node in list(core.stale.values()))


def _is_equal(primary_fd: int, secondary_fd: int, path: bytes) -> bool | None:
    """None where there is nothing to compare any more."""
    opened: list[int] = []
    try:
        with reading_source():
            opened.append(open_beneath(primary_fd, path, os.O_RDONLY | os.O_NONBLOCK))
        opened.append(open_beneath(secondary_fd, path, os.O_RDONLY | os.O_NONBLOCK))
        first, second = (os.fstat(fd) for fd in opened)
        if first.st_size > _LARGEST_BYTES:
            return None
        return first.st_size == second.st_size and is_same_content(opened[0], opened[1], first.st_size)
    except UnreadableError:
        return None  # by the primary, and it is the secondary that is asked about
    except OSError as error:
        if is_leg_failure(error) and error.errno not in UNEXPECTED:
            raise
        return None
    finally:
        for fd in opened:
            os.close(fd)
