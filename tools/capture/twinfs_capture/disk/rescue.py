"""What is read, in which order, and what the map says of it: GNU ddrescue's phases.

Copying (forwards, backwards, forwards without skips), trimming, scraping, retrying; see "Algorithm" in the
manual of ddrescue 1.27. The first passes take what is easy from the whole disk, for a disk that dies soon.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from twinfs.images.rescue_map import Block, RescueMap, Status
from twinfs_capture.disk.buffers import ALIGN_BYTES, Chunk
from twinfs_capture.disk.image import ImageWriter
from twinfs_capture.disk.pace import CLUSTER_BYTES, BulkPace, SectorPace
from twinfs_capture.disk.pipeline import Pipeline
from twinfs_capture.disk.source import Reading, Source

PHASES: Final = {
    Status.NON_TRIED: "copying",
    Status.NON_TRIMMED: "trimming",
    Status.NON_SCRAPED: "scraping",
    Status.BAD: "retrying",
    Status.FINISHED: "read",
}


class Rescue:
    """Goes on from whatever the map says. `lock` guards the map; `check` raises when it is time to end."""

    def __init__(
        self,
        source: Source,
        image: ImageWriter,
        pipeline: Pipeline,
        rescue_map: RescueMap,
        lock: threading.Lock,
        check: Callable[[], None],
    ) -> None:
        self._source = source
        self._image = image
        self._pipeline = pipeline
        self._map = rescue_map
        self._lock = lock
        self._check = check
        self._sectors = SectorPace(source.sector_bytes)
        self._small = Chunk(max(ALIGN_BYTES, 16 * source.sector_bytes))

    def run(self, retries: int) -> None:
        """Returns when nothing is left to try. Raises what `check`, the source or the image raise."""
        self._source.advise(sequential=True)
        self._copy_forwards(1, may_skip=True)
        self._copy_backwards(2)
        self._copy_forwards(3, may_skip=False)
        self._source.advise(sequential=False)
        self._begin(Status.NON_TRIMMED, 1)
        for block in self._list(Status.NON_TRIMMED):
            self._trim(block)
        self._begin(Status.NON_SCRAPED, 1)
        for block in self._list(Status.NON_SCRAPED):
            self._sweep(block.start, block.end, until_bad=False)
        for number in range(1, retries + 1):
            self._begin(Status.BAD, number)
            for block in self._list(Status.BAD):
                self._retry(block)
        self._begin(Status.FINISHED, 1)

    # -- copying

    def _copy_forwards(self, number: int, *, may_skip: bool) -> None:
        self._begin(Status.NON_TRIED, number)
        pace = BulkPace(self._source.size_bytes)
        for block in self._list(Status.NON_TRIED):
            position = block.start
            while position < block.end:
                step = pace.read_bytes
                end = min(position - position % step + step, block.end)
                reading, seconds = self._read_bulk(position, end)
                position += reading.length
                skip = 0
                if not reading.error:
                    skip = pace.went_well(reading.length, seconds)
                elif end - position > CLUSTER_BYTES:
                    pace.be_careful()
                else:
                    self._mark(position, end, Status.NON_TRIMMED)
                    position = end
                    skip = pace.failed()
                if skip and may_skip:
                    position = _up(position + skip)

    def _copy_backwards(self, number: int) -> None:
        self._begin(Status.NON_TRIED, number)
        pace = BulkPace(self._source.size_bytes)
        regions = [(block.start, block.end) for block in self._list(Status.NON_TRIED)]
        while regions:
            begin, end = regions.pop()
            start = max((end - 1) // pace.read_bytes * pace.read_bytes, begin)
            reading, seconds = self._read_bulk(start, end)
            left, skip = start, 0
            if not reading.error:
                skip = pace.went_well(reading.length, seconds)
            elif end - start > CLUSTER_BYTES:
                pace.be_careful()
                regions.append((begin, start))
                begin, left = start + reading.length, end
            else:
                self._mark(start + reading.length, end, Status.NON_TRIMMED)
                skip = pace.failed()
            if skip:
                left = (left - skip) // CLUSTER_BYTES * CLUSTER_BYTES
            if begin < left:
                regions.append((begin, left))

    def _read_bulk(self, start: int, end: int) -> tuple[Reading, float]:
        """Read [start, end) on its way to the image; the reading, and how long it took."""
        self._check()
        self._map.position.offset_bytes = start
        chunk = self._pipeline.borrow()
        begin = time.monotonic()
        try:
            reading = self._source.read(chunk.view[: end - start], start)
        except BaseException:
            self._pipeline.give_back(chunk)
            raise
        seconds = time.monotonic() - begin
        if reading.length:
            chunk.offset_bytes, chunk.length = start, reading.length
            self._pipeline.submit(chunk)
        else:
            self._pipeline.give_back(chunk)
        return reading, seconds

    # -- trimming, scraping, retrying: a sector at a time, written at once

    def _trim(self, block: Block) -> None:
        """Find the first and the last bad sector; what is between them is for scraping."""
        head = self._sweep(block.start, block.end, until_bad=True)
        tail = self._sweep_back(head, block.end)
        self._mark(head, tail, Status.NON_SCRAPED)

    def _sweep(self, start: int, end: int, *, until_bad: bool) -> int:
        """Try [start, end) forwards; returns where it ended: `end`, or behind the first bad sector."""
        position, singly_until = start, start
        while position < end:
            step = self._source.sector_bytes if position < singly_until else self._sectors.read_bytes
            stop = min(position - position % step + step, end)
            reading = self._read_small(position, stop)
            position += reading.length
            if not reading.error:
                continue
            if stop - position > self._source.sector_bytes:
                singly_until = stop
                continue
            self._mark(position, stop, Status.BAD)
            position = stop
            if until_bad:
                break
        return position

    def _sweep_back(self, start: int, end: int) -> int:
        """Try [start, end) backwards; returns where it ended: `start`, or the last bad sector."""
        position, singly_from = end, end
        while position > start:
            step = self._source.sector_bytes if position > singly_from else self._sectors.read_bytes
            begin = max((position - 1) // step * step, start)
            reading = self._read_small(begin, position)
            if not reading.error:
                position = begin
            elif position - begin > self._source.sector_bytes:
                singly_from = begin
            else:
                self._mark(begin, position, Status.BAD)
                return begin
        return position

    def _retry(self, block: Block) -> None:
        position = block.start
        while position < block.end:
            stop = min(position + self._source.sector_bytes, block.end)
            self._read_small(position, stop)
            position = stop

    def _read_small(self, start: int, end: int) -> Reading:
        self._check()
        self._map.position.offset_bytes = start
        chunk = self._small
        begin = time.monotonic()
        reading = self._source.read(chunk.view[: end - start], start)
        self._sectors.took(time.monotonic() - begin, failed=bool(reading.error))
        if reading.length:
            chunk.offset_bytes, chunk.length = start, reading.length
            self._image.write(chunk)
            self._mark(start, start + reading.length, Status.FINISHED)
        return reading

    # -- the map

    def _begin(self, phase: Status, number: int) -> None:
        """A new pass, once everything read before is in the image and in the map."""
        self._pipeline.drain()
        with self._lock:
            self._map.position.phase = phase.value
            self._map.position.number = number

    def _list(self, status: Status) -> list[Block]:
        with self._lock:
            return list(self._map.blocks(status))

    def _mark(self, start: int, end: int, status: Status) -> None:
        with self._lock:
            self._map.mark(start, end, status)


def _up(offset_bytes: int) -> int:
    return -(-offset_bytes // CLUSTER_BYTES) * CLUSTER_BYTES
