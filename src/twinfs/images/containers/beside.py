"""Opens what an image names beside itself: parts, extents, backing files.

The names are an attacker's to choose, so they are looked for in the image's own directory only, and a
symbolic link there leads nowhere.
"""

from __future__ import annotations

import os
import stat

from twinfs.errors import ImageError
from twinfs.images.sources import FileSource


class Beside:
    """Keeps what it opened; close it with the image."""

    def __init__(self, path: str) -> None:
        directory = os.path.dirname(path) or "."
        try:
            self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"{directory}: {error.strerror}") from None
        self._opened: list[FileSource] = []

    def open(self, name: str) -> FileSource:
        if "/" in name or name in ("", ".", "..") or "\0" in name:
            raise ImageError(
                f"the image needs {name!r}, which is not in its own directory; copy it beside the image"
            )
        try:
            status = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except OSError as error:
            raise ImageError(f"the image needs {name!r} beside it: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"the image needs {name!r} beside it, which is no ordinary file")
        found = FileSource(name, directory_fd=self._directory)
        self._opened.append(found)
        return found

    def exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except (OSError, ValueError):
            return False
        return True

    @property
    def opened(self) -> tuple[FileSource, ...]:
        return tuple(self._opened)

    def close(self) -> None:
        for each in self._opened:
            each.close()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1
