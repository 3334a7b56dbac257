"""Asks a reader, one question at a time. Never waits longer than it gets on."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any, Final

from twinfs.errors import ImageError
from twinfs.images.sources.nbd import Export
from twinfs.images.worker import process, wire
from twinfs.images.worker.origin import Origin

PATIENCE_SECONDS: Final = 9.0
MAX_KEYS: Final = 64
"""Derived for one image, each of which takes seconds."""


class ReaderClient:
    """A reader with one image open. A context manager; not for threads."""

    def __init__(
        self,
        path: str,
        map_path: str | None = None,
        passphrase: bytes | None = None,
        *,
        export: Export | None = None,
    ) -> None:
        """`map_path`: ddrescue's map; `passphrase`: of the LUKS volumes in it; `export`: instead of a file.

        Raises ImageError where the image, or every LUKS volume with that passphrase, cannot be opened.
        """
        self._path = path
        self._process, self._channel, opening = Origin(path, map_path, export).start_reader()
        self._last = 0
        try:
            self.call(*opening)
            if passphrase is not None:
                self._unlock(passphrase)
        except BaseException:
            self.close()
            raise

    def call(self, method: Any, *arguments: Any) -> Any:  # noqa: ANN401  what the method returns
        """Raises ImageError with the image's name; a reader that hangs is killed."""
        self._last += 1
        try:
            self._channel.sendall(wire.frame((self._last, method, arguments)))
            status, result = self._await(self._last)
        except OSError:
            raise ImageError(f"{self._path}: {process.last_words(self._process)}") from None
        if status != wire.OK:
            raise ImageError(prefixed(self._path, result))
        return result

    def _unlock(self, passphrase: bytes) -> None:
        """Keys are derived here: the reader never learns the passphrase, nor may it take that much memory."""
        from twinfs.images.luks import derive

        for _ in range(MAX_KEYS):
            wanted = self.call("wanted_key")
            if wanted is None:
                return
            self.call("add_key", wanted, derive(passphrase, wire.derivation_of(wanted)))

    def _await(self, ident: int) -> tuple[int, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                found, status, result = wire.answer_of(self._receive_frame(deadline))
            except TimeoutError:
                process.stop(self._process)
                raise ImageError(
                    f"{self._path}: no progress for {PATIENCE_SECONDS:.0f} s; it is damaged, or made to harm"
                ) from None
            if status == wire.ALIVE:
                deadline = time.monotonic() + PATIENCE_SECONDS
            elif found == ident:
                return status, result

    def _receive_frame(self, deadline: float) -> bytes:
        (length,) = wire.HEAD.unpack(self._receive(wire.HEAD.size, deadline))
        if length > wire.MAX_ANSWER_BYTES:
            raise ImageError(f"{self._path}: the reader's answer makes no sense")
        return self._receive(length, deadline)

    def _receive(self, length: int, deadline: float) -> bytes:
        found = bytearray(length)
        view = memoryview(found)
        at = 0
        while at < length:
            self._channel.settimeout(max(0.001, deadline - time.monotonic()))
            count = self._channel.recv_into(view[at:])
            if count == 0:
                raise ConnectionResetError
            at += count
        return bytes(found)

    def close(self) -> None:
        self._channel.close()
        process.stop(self._process)

    def __enter__(self) -> ReaderClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def prefixed(path: str, message: str) -> str:
    """Messages about the image file itself begin with its name already."""
    return message if path and message.startswith((path, os.path.abspath(path))) else f"{path}: {message}"
