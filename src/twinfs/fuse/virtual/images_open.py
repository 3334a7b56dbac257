"""The images of a volume that somebody looks into. Each has a reader while it is used, and none when idle.

What a place in an image is called, its path, outlives readers; the number that a reader gave it does not.
"""

from __future__ import annotations

import errno
import logging
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio

from twinfs.errors import ImageError
from twinfs.fsio.syscalls import open_beneath
from twinfs.fuse.image.reader import ImageReader
from twinfs.fuse.virtual.images_seen import look
from twinfs.images.worker.origin import Beneath, stamp_of
from twinfs.images.worker.wire import ROOT
from twinfs.mirror.volume import Volume

_log: Final = logging.getLogger(__name__)
_IDLE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 5.0
_MOST_READERS: Final = 8
"""Each may take 500 MB."""
_WAITING_SECONDS: Final = 60.0
_ATTEMPTS: Final = 3
_SOON_SECONDS: Final = 3.0

_Epoch = tuple[int, int]


@dataclass(eq=False, slots=True)
class Place:
    """Something in an image: its name in another place, or the top where there is none."""

    parent: Place | None = None
    name: bytes = b""
    epoch: _Epoch = (0, 0)
    """Of the reader whose number `number` is."""
    number: int = ROOT


class OpenImage:
    """One image as it was when it was found; after a change it answers ESTALE for good."""

    def __init__(self, images: OpenImages, path: bytes, stamp: tuple[int, ...]) -> None:
        self.path = path
        self.stamp = stamp
        self._images = images
        self._reader: ImageReader | None = None
        self._scope = trio.CancelScope()
        self._starts = 0
        self._starting = trio.Lock()
        self._asking = 0
        self.used = trio.current_time()

    @property
    def is_idle(self) -> bool:
        return self._asking == 0

    async def ask(self, place: Place, method: str, *arguments: Any) -> tuple[Any, _Epoch]:  # noqa: ANN401
        """What `method` returns, and the epoch of the numbers in it.

        OSError: EBUSY while the image is open for writing, ESTALE when it was changed, else EIO.
        """
        if self._images.is_being_written(self.stamp):
            self.close()
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        self._asking += 1
        try:
            return await self._ask(place, method, arguments)
        finally:
            self._asking -= 1
            self.used = trio.current_time()
            if self.is_idle:
                self._images.changed()

    async def _ask(self, place: Place, method: str, arguments: tuple[Any, ...]) -> tuple[Any, _Epoch]:
        started = trio.current_time()
        for _ in range(_ATTEMPTS):
            before = self._epoch
            try:
                reader = await self._ready()
                epoch = self._epoch
                number = await self._number(place, reader, epoch)
                answer = await reader.call(method, number, *arguments)
            except ImageError as error:
                # A reader that died is replaced and asked again; one that hung would hang again.
                is_lost = self._reader is not None and (not self._reader.is_ready or self._epoch != before)
                if not is_lost or trio.current_time() - started > _SOON_SECONDS:
                    await self._failed(error)
            else:
                if epoch == self._epoch:
                    return answer, epoch
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    @property
    def _epoch(self) -> _Epoch:
        return (self._starts, 0 if self._reader is None else self._reader.epoch)

    async def _number(self, place: Place, reader: ImageReader, epoch: _Epoch) -> int:
        if place.parent is None:
            return ROOT
        if place.epoch != epoch:
            parent = await self._number(place.parent, reader, epoch)
            found = await reader.call("lookup_exact", parent, place.name)
            if found is None:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            place.number, place.epoch = found[0], epoch
        return place.number

    async def _failed(self, error: ImageError) -> None:
        if await self._images.has_changed(self.path, self.stamp):
            _log.info("%s", error)
            self.close()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None
        _log.warning("%s", error)
        raise OSError(errno.EIO, os.strerror(errno.EIO)) from None

    # The reader

    async def _ready(self) -> ImageReader:
        async with self._starting:
            if self._reader is None:
                await self._images.admit(self)
                try:
                    await self._start()
                except BaseException:
                    self.close()
                    raise
            assert self._reader is not None
            return self._reader

    async def _start(self) -> None:
        name = self.path.rpartition(b"/")[2]
        shown = os.fsdecode(self.path).encode(errors="backslashreplace").decode()
        origin = Beneath(shown, name, self.stamp, partial(self._images.open_directory_of, self))
        reader = ImageReader(origin, _nothing)
        failures: list[ImageError] = []
        begun = trio.Event()
        scope = self._scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                try:
                    async with trio.open_nursery() as nursery:
                        await nursery.start(reader.run)
                        begun.set()
                except* ImageError as group:
                    failures.append(_first(group))
                except* Exception:  # noqa: BLE001  the volume is not to fall with one of its images
                    _log.exception("%s: the reader failed", shown)
                    failures.append(ImageError(f"{shown}: the reader failed"))
            if self._reader is reader:
                self.close()
            begun.set()

        self._images.start_soon(run)
        await begun.wait()
        if failures:
            raise failures[0]
        if scope.cancel_called:
            raise ImageError(f"{shown}: closed")
        self._starts += 1
        self._reader = reader

    def close(self) -> None:
        """The next question starts another reader."""
        self._images.running.discard(self)
        self._images.changed()
        self._reader = None
        self._scope.cancel()


class OpenImages:
    """Those of one volume; `run` closes what is idle."""

    def __init__(self, volume: Volume, nursery: trio.Nursery) -> None:
        self._volume = volume
        self._nursery = nursery
        self._known: weakref.WeakValueDictionary[tuple[bytes, tuple[int, ...]], OpenImage]
        self._known = weakref.WeakValueDictionary()
        self.running: set[OpenImage] = set()
        """Those that have a reader, or get one."""
        self._has_changed = trio.Event()
        self._admission = trio.Lock()
        """First come, first served."""
        volume.roles.on_another_primary = self.close

    @property
    def root_fd(self) -> int:
        return self._volume.pair.primary.fd

    def get(self, path: bytes, stamp: tuple[int, ...]) -> OpenImage:
        image = self._known.get((path, stamp))
        if image is None:
            image = self._known[path, stamp] = OpenImage(self, path, stamp)
        return image

    def is_being_written(self, stamp: tuple[int, ...]) -> bool:
        """Whether somebody has the file open for writing, through the volume."""
        node = self._volume.core.nodes.standing_for(stamp[0], stamp[1])
        return node is not None and node.file is not None and node.file.write_fd >= 0

    async def has_changed(self, path: bytes, stamp: tuple[int, ...]) -> bool:
        try:
            seen = await trio.to_thread.run_sync(look, self.root_fd, path)
        except OSError:
            return True
        return seen is None or seen.stamp != stamp

    def open_directory_of(self, image: OpenImage) -> int:
        """OSError ESTALE when the image was changed: no reader needs to be started for that."""
        parent, _, name = image.path.rpartition(b"/")
        directory = open_beneath(self.root_fd, parent, os.O_PATH | os.O_DIRECTORY)
        try:
            if stamp_of(os.stat(name, dir_fd=directory, follow_symlinks=False)) != image.stamp:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        except BaseException:
            os.close(directory)
            raise
        return directory

    def start_soon(self, work: Callable[[], Any]) -> None:
        self._nursery.start_soon(work)

    async def admit(self, image: OpenImage) -> None:
        """Count one more among those with a reader, when there may be one: of the idle ones, who was not
        asked for longest gives way. OSError EAGAIN where all go on being busy."""
        with trio.move_on_after(_WAITING_SECONDS):
            async with self._admission:
                while len(self.running) >= _MOST_READERS and not self._close_an_idle_one():
                    await self._has_changed.wait()
                self.running.add(image)
                return
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def _close_an_idle_one(self) -> bool:
        idle = sorted((image for image in self.running if image.is_idle), key=lambda image: image.used)
        for image in idle[:1]:
            image.close()
        return bool(idle)

    def changed(self) -> None:
        """Some image is idle now, or has no reader any more."""
        self._has_changed.set()
        self._has_changed = trio.Event()

    async def run(self) -> None:
        while True:
            await trio.sleep(_LOOK_SECONDS)
            now = trio.current_time()
            for image in list(self.running):
                if image.is_idle and now - image.used >= _IDLE_SECONDS:
                    image.close()

    def close(self) -> None:
        """The disk that was the primary may be about to be taken out."""
        for image in list(self.running):
            image.close()


def _first(group: BaseExceptionGroup[ImageError]) -> ImageError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ImageError)
    return error


async def _nothing() -> None:
    """Nobody keeps a reader's numbers: `Place` asks for them anew."""
