"""Reading, hashing and writing at once, each in a thread of its own, over a few buffers that go round.

All three release the GIL while they work on a chunk. Memory is the buffers, whatever the source's size.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

from twinfs_capture.disk.buffers import Chunk
from twinfs_capture.stop import Stop

CHUNK_BYTES: Final = 1 << 20
_CHUNKS: Final = 6

# Takes a chunk; what it raises ends the capture.
Consumer = Callable[[Chunk], None]


class Pipeline:
    """`consumers` each see every chunk, in the order of `submit`. Used by one thread (the reader)."""

    def __init__(self, consumers: list[Consumer], stop: Stop) -> None:
        self._stop = stop
        self._free: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        for _ in range(_CHUNKS):
            self._free.put(Chunk(CHUNK_BYTES))
        self._queues: list[queue.SimpleQueue[Chunk | None]] = [queue.SimpleQueue() for _ in consumers]
        self._threads = [
            threading.Thread(target=self._consume, args=pair, daemon=True)
            for pair in zip(consumers, self._queues, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def borrow(self) -> Chunk:
        """A chunk to fill; waits until one is free. Raises what a consumer raised."""
        chunk = self._free.get()
        if self._error is not None:
            self._free.put(chunk)
            raise self._error
        return chunk

    def give_back(self, chunk: Chunk) -> None:
        self._free.put(chunk)

    def submit(self, chunk: Chunk) -> None:
        """Let the consumers have it: `offset_bytes` and `length` are set. It comes back by itself."""
        chunk.users = len(self._queues)
        for waiting in self._queues:
            waiting.put(chunk)

    def drain(self) -> None:
        """Wait until the consumers have done with everything. Raises what a consumer raised."""
        chunks = [self._free.get() for _ in range(_CHUNKS)]
        for chunk in chunks:
            self._free.put(chunk)
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the threads; what was submitted is still consumed. Raises nothing."""
        for waiting in self._queues:
            waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _consume(self, consumer: Consumer, waiting: queue.SimpleQueue[Chunk | None]) -> None:
        while (chunk := waiting.get()) is not None:
            try:
                # After a failure the rest is only passed on: nothing may wait for a buffer for ever.
                if self._error is None:
                    consumer(chunk)
            except BaseException as error:  # noqa: BLE001  it is raised again where the reader is
                self._error = error
            with self._lock:
                chunk.users -= 1
                is_last = chunk.users == 0
            if is_last:
                self._free.put(chunk)
