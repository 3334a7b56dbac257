"""One capture from its beginning to its end, raw.

Order: refusals; the map, durable; the image; the passes, with the map saved at intervals; the last save;
hashes; comparison. Whatever ends it, the map on disk names only what is durable in the image.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from twinfs.images.rescue_map import RescueMap, Status
from twinfs_capture.disk import guard, hashes, verify
from twinfs_capture.disk.begin import opened_image, starting_map
from twinfs_capture.disk.buffers import Chunk
from twinfs_capture.disk.image import ImageWriter, Room
from twinfs_capture.disk.map_file import MapFile
from twinfs_capture.disk.pipeline import Consumer, Pipeline
from twinfs_capture.disk.rescue import PHASES, Rescue
from twinfs_capture.disk.settings import Outcome, Progress, Settings
from twinfs_capture.disk.source import Source, open_source
from twinfs_capture.stop import Stop


class Job:
    """Call `run` once, in the main thread; `progress` may be called from another one meanwhile."""

    def __init__(self, settings: Settings, stop: Stop) -> None:
        self._settings = settings
        self._stop = stop
        self._lock = threading.Lock()
        self._map = RescueMap(0)
        self._known_bytes = 0
        self._later: tuple[str, int] | None = None
        self._room = Room(stop, may_wait=settings.may_wait)

    def run(self) -> Outcome:
        """Raises TwinfsError; what was read until then is kept, and known from the map."""
        settings = self._settings
        begin = time.monotonic()
        source = open_source(settings.source, direct=settings.is_direct, sector_bytes=settings.sector_bytes)
        with contextlib.closing(source):
            guard.check_source(source, is_live=settings.is_live)
            guard.check_destination(source, settings.dest, is_forced=settings.is_forced)
            self._map, is_new = starting_map(settings, source)
            self._known_bytes = self._map.total_bytes(Status.FINISHED)
            with self._image(source, is_new=is_new) as (image, map_file):
                streams = [hashes.StreamHash(name) for name in settings.hashes]
                self._rescue(source, image, map_file, streams)
                outcome = self._outcome(source, begin)
                self._finish_hashes(streams, image, outcome)
                self._verify(source, image, outcome)
        outcome.seconds = time.monotonic() - begin
        return outcome

    def progress(self) -> Progress:
        if self._later is not None:
            step, position = self._later
            return Progress(step, position, self._map.size_bytes, position, 0, 0)
        with self._lock:
            done = self._map.total_bytes(Status.FINISHED)
            bad = (Status.NON_TRIMMED, Status.NON_SCRAPED, Status.BAD)
            return Progress(
                "no room, waiting" if self._room.is_waiting else PHASES[Status(self._map.position.phase)],
                done,
                self._map.size_bytes,
                done - self._known_bytes,
                sum(self._map.total_bytes(status) for status in bad),
                sum(self._map.count(status) for status in bad),
            )

    @contextlib.contextmanager
    def _image(self, source: Source, *, is_new: bool) -> Iterator[tuple[ImageWriter, MapFile]]:
        """A new image's map comes first: an image without a map could not be gone on with."""
        settings = self._settings
        if self._map.position.phase not in PHASES:
            self._map.position.phase = Status.NON_TRIED.value
        if is_new and not settings.image.is_block_device():
            MapFile.write_first(settings.map, self._map)
        with opened_image(settings.image, source.size_bytes, is_new=is_new) as fd:
            is_device = settings.image.is_block_device()
            image = ImageWriter(
                settings.image,
                fd,
                self._room,
                is_sparse=settings.is_sparse,
                is_fresh=is_new and not is_device,
                is_device=is_device,
            )
            map_file = MapFile(settings.map, self._map, self._lock, fd)
            yield image, map_file

    def _rescue(
        self, source: Source, image: ImageWriter, map_file: MapFile, streams: list[hashes.StreamHash]
    ) -> None:
        def write(chunk: Chunk) -> None:
            image.write(chunk)
            with self._lock:
                self._map.mark(chunk.offset_bytes, chunk.offset_bytes + chunk.length, Status.FINISHED)

        def check() -> None:
            self._stop.check()
            if map_file.error is not None:
                raise map_file.error

        consumers: list[Consumer] = [write, *(stream.take for stream in streams)]
        pipeline = Pipeline(consumers, self._stop)
        map_file.start_saving(self._settings.map_interval_seconds)
        try:
            Rescue(source, image, pipeline, self._map, self._lock, check).run(self._settings.retries)
        finally:
            pipeline.close()
            map_file.stop_saving()
            map_file.save_at_last(self._room)
        if image.is_device:
            for start, end in self._map.unfinished():
                image.clear(start, end)

    def _outcome(self, source: Source, begin: float) -> Outcome:
        read_bytes = self._map.total_bytes(Status.FINISHED)
        present_bytes = source.present_size_bytes()
        return Outcome(
            size_bytes=source.size_bytes,
            read_bytes=read_bytes,
            taken_bytes=read_bytes - self._known_bytes,
            seconds=time.monotonic() - begin,
            unread=[(start, end - start) for start, end in self._map.unfinished()],
            grown_to_bytes=present_bytes if present_bytes > source.size_bytes else None,
        )

    def _finish_hashes(self, streams: list[hashes.StreamHash], image: ImageWriter, outcome: Outcome) -> None:
        def tell(position: int) -> None:
            self._later = ("hashing", position)

        hashes.finish(streams, image.fd, outcome.size_bytes, self._stop, tell)
        for stream in streams:
            outcome.digests[stream.name] = stream.digest

    def _verify(self, source: Source, image: ImageWriter, outcome: Outcome) -> None:
        if not self._settings.is_verified:
            return

        def tell(position: int) -> None:
            self._later = ("comparing", position)

        outcome.mismatches = list(verify.mismatches(source, image.fd, self._map, self._stop, tell))
