"""A bounded memory of blocks, for sources that pay for every read (decryption, decompression)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from twinfs.images.protocol import ByteSource


class CachedSource:
    """Reads `inner` in aligned blocks and remembers the last `block_count` of them."""

    def __init__(self, inner: ByteSource, *, block_bytes: int = 64 << 10, block_count: int = 512) -> None:
        self._inner = inner
        self._block_bytes = block_bytes
        self._block_count = block_count
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        return self._inner.size_bytes

    def _block(self, index: int) -> bytes:
        with self._lock:
            if index in self._blocks:
                self._blocks.move_to_end(index)
                return self._blocks[index]
        # Not under the lock: two threads may both read it, but neither waits for the other's block.
        block = self._inner.read_at(index * self._block_bytes, self._block_bytes)
        with self._lock:
            self._blocks[index] = block
            if len(self._blocks) > self._block_count:
                self._blocks.popitem(last=False)
        return block

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        end = min(offset_bytes + length, self.size_bytes)
        if offset_bytes < 0 or end <= offset_bytes:
            return b""
        first, last = offset_bytes // self._block_bytes, (end - 1) // self._block_bytes
        if last - first >= self._block_count // 2:
            return self._inner.read_at(offset_bytes, end - offset_bytes)
        joined = b"".join(self._block(index) for index in range(first, last + 1))
        start = offset_bytes - first * self._block_bytes
        return joined[start : start + end - offset_bytes]

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        return self._inner.data_ranges(offset_bytes, length)
