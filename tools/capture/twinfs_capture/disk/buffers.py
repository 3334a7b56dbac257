"""Aligned memory for O_DIRECT, in which zeros are found quickly."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Final

ALIGN_BYTES: Final = 4096
"""The largest logical sector that Linux knows, and the block of almost every file system."""

_ZEROS: Final = bytes(ALIGN_BYTES)


class Chunk:
    """One piece of the source on its way: where it belongs, and who has not done with it."""

    __slots__ = ("_base", "_memory", "length", "offset_bytes", "users", "view")

    def __init__(self, capacity_bytes: int) -> None:
        self._memory = bytearray(capacity_bytes + ALIGN_BYTES)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._base = -address % ALIGN_BYTES
        self.view = memoryview(self._memory)[self._base : self._base + capacity_bytes]
        self.offset_bytes = 0
        self.length = 0
        self.users = 0

    def data_runs(self) -> Iterator[tuple[int, int]]:
        """(start, end) within the chunk of what is not zeros, in steps of a block, ascending."""
        begin: int | None = 0
        for start in self._zero_blocks():
            if begin is None or start > begin:
                if begin is not None:
                    yield begin, start
                begin = None
            begin = start + ALIGN_BYTES
        if begin is not None and begin < self.length:
            yield begin, self.length

    def _zero_blocks(self) -> Iterator[int]:
        """Starts of the blocks that are all zeros. Looks at one byte of each block before it looks at all."""
        base, memory = self._base, self._memory
        firsts = memory[base : base + self.length : ALIGN_BYTES]
        number = firsts.find(0)
        while number >= 0:
            start = number * ALIGN_BYTES
            rest = self.length - start
            if memory.startswith(_ZEROS if rest >= ALIGN_BYTES else _ZEROS[:rest], base + start):
                yield start
            number = firsts.find(0, number + 1)
