"""Answers requests about one image, several at once."""

from __future__ import annotations

import itertools
import os
import queue
import socket
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from twinfs.errors import ImageError
from twinfs.images import progress
from twinfs.images.affected import unread_of
from twinfs.images.containers import Disk
from twinfs.images.filesystems import prepare
from twinfs.images.fingerprint import fingerprint
from twinfs.images.info import describe
from twinfs.images.luks import Derivation
from twinfs.images.protocol import DirectoryEntry, InodeStat
from twinfs.images.sources import CachedSource, FileSource
from twinfs.images.sources.nbd import NbdSource
from twinfs.images.tree import ImageTree
from twinfs.images.volumes import Image
from twinfs.images.worker import wire
from twinfs.images.worker.origin import stamp_of

_THREADS: Final = 4
_HEARTBEAT_SECONDS: Final = 2.0
_MAX_LISTINGS: Final = 64
_MAX_RANGES: Final = 50_000
_Listing = Iterator[tuple[DirectoryEntry, InodeStat]]


class ChangedError(ImageError):
    """Somebody wrote to the image while it was open."""


class Server:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._send_lock = threading.Lock()
        self._requests: queue.SimpleQueue[wire.Request | None] = queue.SimpleQueue()
        self._image: Image | None = None
        self._tree: ImageTree | None = None
        self._listings: OrderedDict[tuple[int, int], _Listing] = OrderedDict()
        self._listings_lock = threading.Lock()
        self._methods: dict[str, Callable[..., Any]] = {
            name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")
        }

    def run(self) -> None:
        """Until the other side closes the socket."""
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(_THREADS)]
        workers.append(threading.Thread(target=self._beat, daemon=True))
        for worker in workers:
            worker.start()
        with self._channel.makefile("rb") as incoming:
            while head := incoming.read(wire.HEAD.size):
                (length,) = wire.HEAD.unpack(head)
                self._requests.put(wire.request_of(incoming.read(length)))

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            ident, method, arguments = request
            try:
                answer: wire.Answer = (ident, wire.OK, self._methods[method](*arguments))
            except ChangedError as error:
                answer = (ident, wire.CHANGED, str(error))
            except ImageError as error:
                answer = (ident, wire.FAILED, str(error))
            except MemoryError:
                answer = (ident, wire.FAILED, "it asks for more memory than a reader may have")
            except RecursionError:
                answer = (ident, wire.FAILED, "its structures are nested too deep")
            except Exception as error:  # noqa: BLE001  a thread less would be a question never answered
                traceback.print_exc()
                answer = (ident, wire.FAILED, f"internal error: {type(error).__name__}: {error}")
            self._send(answer)

    def _send(self, answer: wire.Answer) -> None:
        with self._send_lock:
            self._channel.sendall(wire.frame(answer))

    def _beat(self) -> None:
        told = 0
        pause = threading.Event()
        while not pause.wait(_HEARTBEAT_SECONDS):
            if progress.steps() != told:
                told = progress.steps()
                self._send((0, wire.ALIVE, told))

    # What can be asked for. Names and arguments are RemoteTree's.

    def do_open(self, path: str, map_path: str | None = None) -> None:
        image = Image.open(path, map_path)
        self._image, self._tree = image, ImageTree(image)

    def do_open_beneath(self, number: int, name: bytes, expected: list[int]) -> None:
        """In a directory that this process was started with: the very file that was seen there, unchanged."""
        image = Image.open(os.fsdecode(name), directory_fd=number)
        [file] = image.disk.files
        assert isinstance(file, FileSource)
        if stamp_of(os.fstat(file.descriptor)) != tuple(expected):
            raise ChangedError("another file is there now, or it was changed")
        self._image, self._tree = image, ImageTree(image)

    def do_open_export(self, number: int, name: str) -> None:
        """A connection that this process was started with."""
        source = NbdSource(socket.socket(fileno=number), name)
        image = Image(Disk(("qmp",), CachedSource(source), (source,), None))
        self._image, self._tree = image, ImageTree(image)

    def do_prepare(self) -> None:
        """Load what will read its file systems, before anybody looks at them."""
        self._opened()
        assert self._image is not None
        prepare(volume.found.kind for volume in self._image.volumes if volume.found and volume.is_readable)

    def do_wanted_key(self) -> Derivation | None:
        """What to derive of the passphrase next; None: no more is needed."""
        self._opened()
        assert self._image is not None
        return self._image.wanted_key()

    def do_add_key(self, derivation: dict[str, Any], key: bytes) -> None:
        self._opened()
        assert self._image is not None
        self._image.add_key(msgspec.convert(derivation, Derivation), key)
        self._tree = ImageTree(self._image)

    def _opened(self) -> ImageTree:
        if self._tree is None or self._image is None:
            raise ImageError("no image is open")
        if self._image.has_changed():
            raise ChangedError("the image was changed while it was open; open it again")
        return self._tree

    def do_info(self) -> Any:  # noqa: ANN401  builtins for msgpack
        self._opened()
        assert self._image is not None
        return msgspec.to_builtins(describe(self._image))

    def do_stat(self, inode: int) -> wire.PackedStat:
        return wire.pack_stat(self._opened().stat(inode))

    def do_lookup(self, inode: int, name: bytes) -> wire.PackedStat | None:
        tree = self._opened()
        found = tree.lookup(inode, name)
        return None if found is None else wire.pack_stat(tree.stat(found))

    def do_lookup_exact(self, inode: int, name: bytes) -> wire.PackedStat | None:
        """As `do_lookup`, but never another spelling of the name, whatever the file system would find."""
        tree = self._opened()
        found = tree.lookup_exact(inode, name)
        return None if found is None else wire.pack_stat(tree.stat(found))

    def do_fingerprint(self) -> str:
        self._opened()
        assert self._image is not None
        return fingerprint(self._image)

    def do_list(self, inode: int, position: int, count: int) -> wire.Batch:
        """Up to `count` entries from `position` on, and whether these are the last.

        What can be read of a damaged directory is answered first; asked for more, it fails.
        """
        tree = self._opened()
        with self._listings_lock:
            listing = self._listings.pop((inode, position), None)
        if listing is None:
            listing = itertools.islice(tree.list_with_stat(inode), position, None)
        found: list[wire.PackedEntry] = []
        try:
            for entry, attributes in itertools.islice(listing, count):
                progress.advance()
                found.append((entry.name, wire.pack_stat(attributes)))
        except ImageError:
            if not found:
                raise
            return found, False
        if len(found) == count:
            with self._listings_lock:
                self._listings[inode, position + count] = listing
                if len(self._listings) > _MAX_LISTINGS:
                    self._listings.popitem(last=False)
        return found, len(found) < count

    def do_read(self, inode: int, offset_bytes: int, length: int) -> bytes:
        return self._opened().read(inode, offset_bytes, length)

    def do_data_ranges(self, inode: int, skipped: int) -> list[tuple[int, int]]:
        """Up to _MAX_RANGES of them; an answer that long has more behind it."""
        ranges = self._opened().data_ranges(inode)
        return list(itertools.islice(ranges, skipped, skipped + _MAX_RANGES))

    def do_extents(self, inode: int) -> list[tuple[int, int, int]] | None:
        found = self._opened().extents(inode)
        return None if found is None or len(found) > _MAX_RANGES else found

    def do_lost(self) -> list[tuple[bytes, str]]:
        self._opened()
        assert self._image is not None
        return [(volume.name, volume.error) for volume in self._image.volumes if volume.error]

    def do_affected(self, inode: int) -> list[tuple[int, int]]:
        """What cannot be read of a file, up to _MAX_RANGES ranges."""
        tree = self._opened()
        assert self._image is not None
        if self._image.damaged is None:
            raise ImageError("it was opened without a map")
        return unread_of(tree, self._image.damaged, tree.stat(inode))[:_MAX_RANGES]

    def do_readlink(self, inode: int) -> bytes:
        return self._opened().readlink(inode)

    def do_xattrs(self, inode: int) -> dict[bytes, bytes]:
        return self._opened().xattrs(inode)

    def do_check(self) -> None:
        """Fails when the image was changed."""
        self._opened()

    def do_capacity(self) -> tuple[int, int]:
        return self._opened().capacity()
