"""Hashes of the whole image, taken while it is written as far as it is written in order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from twinfs.errors import UsageError
from twinfs.fsio.durable import replace_file
from twinfs_capture.disk.buffers import Chunk
from twinfs_capture.stop import Stop

_READ_BYTES: Final = 1 << 20


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> object: ...

    def hexdigest(self) -> str: ...


# The name of an algorithm, and the program that checks its files.
CHECKERS: Final = {
    "blake3": "b3sum",
    "sha256": "sha256sum",
    "sha512": "sha512sum",
    "sha1": "sha1sum",
    "md5": "md5sum",
    "blake2b": "b2sum",
}


class StreamHash:
    """One algorithm over the image's bytes in order. Chunks that come out of order are left for `finish`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.position = 0
        self._hash = _new_hash(name)

    def take(self, chunk: Chunk) -> None:
        if chunk.offset_bytes == self.position:
            self._hash.update(chunk.view[: chunk.length])
            self.position += chunk.length

    def update_from(self, data: memoryview) -> None:
        self._hash.update(data)
        self.position += len(data)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def parse_names(text: str | None) -> tuple[str, ...]:
    """ "blake3,sha256" as names, each once. Raises UsageError."""
    names = tuple(dict.fromkeys(word.strip().lower() for word in (text or "").split(",") if word.strip()))
    for name in names:
        if name not in CHECKERS:
            raise UsageError(f"--hash {name}: known are {', '.join(CHECKERS)}")
    return names


def _new_hash(name: str) -> _Hash:
    if name != "blake3":
        return hashlib.new(name)
    try:
        from blake3 import blake3
    except ImportError as error:
        raise UsageError(
            "--hash blake3 takes the Python package blake3: pip install 'twinfs[capture]', or --hash sha256"
        ) from error
    return blake3()


def finish(
    hashes: Sequence[StreamHash], fd: int, size_bytes: int, stop: Stop, on_position: Callable[[int], None]
) -> None:
    """Read the image once, from where the first of the hashes was left, to its end. Raises Interrupted."""
    position = min((each.position for each in hashes), default=size_bytes)
    view = Chunk(_READ_BYTES).view
    while position < size_bytes:
        stop.check()
        got = os.preadv(fd, [view[: min(_READ_BYTES, size_bytes - position)]], position)
        if got == 0:
            raise OSError("the image ends early")
        for each in hashes:
            if each.position < position + got:
                each.update_from(view[each.position - position : got])
        position += got
        on_position(position)


def check_file(image: Path, name: str) -> Path:
    return image.with_name(f"{image.name}.{name}")


def write_check_file(image: Path, name: str, digest: str) -> Path:
    """A line that `b3sum -c` and `sha256sum -c` check, beside the image. Durable when it returns."""
    plain = os.fsencode(image.name)
    escaped = plain.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    # A backslash before the digest tells that the name is escaped, as in GNU's and BLAKE3's programs.
    mark = b"\\" if escaped != plain else b""
    path = check_file(image, name)
    dir_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace_file(
            dir_fd, os.fsencode(path.name), mark + digest.encode() + b"  " + escaped + b"\n", mode=0o644
        )
    finally:
        os.close(dir_fd)
    return path


def of_file(path: Path, names: Sequence[str], stop: Stop) -> dict[str, str]:
    """Digests of a finished file. Raises Interrupted, OSError."""
    streams = [StreamHash(name) for name in names]
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        finish(streams, fd, os.fstat(fd).st_size, stop, lambda _: None)
    finally:
        os.close(fd)
    return {stream.name: stream.digest for stream in streams}
