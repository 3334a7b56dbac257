"""The contents of both legs' files, read from the disks at the same time and compared.

While one batch is compared and hashed, both legs read the next ones: batches of small files several at a
time, the batches of one large file one after the other. As long as the legs are equal one hash
stands for both: what differs is only said to differ, and looked at again by whoever can tell why. Small
files share a batch, large ones take several. Memory: `_SLOTS` batches for each leg.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from blake3 import blake3

from twinfs.fsio.uncached import aligned_buffer, rounded_up
from twinfs.model import ReadMethod
from twinfs.scrub.legreader import LegReader, Part, PartRead
from twinfs.scrub.todo import Item

BATCH_BYTES: Final = 4 * 1024 * 1024
_BATCH_FILES: Final = 64
_SLOTS: Final = 6
_READERS: Final = 3
"""Of each leg: small files cost the disk a wait each, and several can wait at once."""

_memcmp: Final = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Outcome(Enum):
    EQUAL = auto()
    MOVING = auto()
    """It was written, or replaced, while it was read."""
    SUSPECT = auto()
    """The legs differ, or one of them does not give it."""


@dataclass(frozen=True, slots=True)
class PairRead:
    """One file, on both legs. `content` is the hash of its bytes, of a file of `size` and `mtime_ns`."""

    item: Item
    outcome: Outcome
    content: bytes
    size: int
    mtime_ns: int
    begun_ns: int


class _Slot:
    """Memory of a batch for both legs."""

    def __init__(self) -> None:
        self.memory = aligned_buffer(BATCH_BYTES), aligned_buffer(BATCH_BYTES)
        self.addresses = tuple(_address(memory) for memory in self.memory)


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class _File:
    """One file on its way. Its parts come in order."""

    def __init__(self) -> None:
        self.hasher: blake3 | None = None
        self.is_equal = True
        self.is_refused = False


class PairReader:
    """Both legs' reading threads, in pairs. `pace` is called with the bytes of each batch before it is read:
    it may wait there."""

    def __init__(
        self, roots: tuple[int, int], methods: tuple[ReadMethod, ReadMethod], pace: Callable[[int], None]
    ) -> None:
        self._readers = [
            (
                LegReader(roots[0], methods[0], f"scrub-primary-{number}"),
                LegReader(roots[1], methods[1], f"scrub-secondary-{number}"),
            )
            for number in range(_READERS)
        ]
        self._pace = pace
        self._slots = [_Slot() for _ in range(_SLOTS)]
        self._file = _File()

    def run(self, items: Iterable[Item]) -> Iterator[PairRead]:
        """What became of each item, in order."""
        flying: deque[tuple[list[Part], _Slot, tuple[LegReader, LegReader]]] = deque()
        batches = _batches(items)
        number = chosen = 0
        while True:
            while len(flying) < _SLOTS and (parts := next(batches, None)) is not None:
                self._pace(sum(part.length for part in parts))
                slot = self._slots[number % _SLOTS]
                number += 1
                if parts[0].is_first:
                    chosen += 1  # the rest of a large file goes to who has it open
                readers = self._readers[chosen % _READERS]
                for reader, memory in zip(readers, slot.memory, strict=True):
                    reader.submit(parts, memory)
                flying.append((parts, slot, readers))
            if not flying:
                return
            parts, slot, readers = flying.popleft()
            primary, secondary = (reader.results.get() for reader in readers)
            for part, *reads in zip(parts, primary, secondary, strict=True):
                if (done := self._take(part, slot, reads[0], reads[1])) is not None:
                    yield done

    def _take(self, part: Part, slot: _Slot, primary: PartRead, secondary: PartRead) -> PairRead | None:
        if part.is_first:
            self._file = _File()
        file = self._file
        if primary.error is not None or secondary.error is not None:
            file.is_refused = True
        elif file.is_equal:
            file.is_equal = primary.count == secondary.count and self._is_equal(part, slot, primary.count)
        if file.is_equal and not file.is_refused:
            self._hash(file, part, slot, primary.count)
        return self._ended(file, part, primary, secondary) if part.is_last else None

    @staticmethod
    def _is_equal(part: Part, slot: _Slot, count: int) -> bool:
        first, second = slot.addresses
        return bool(_memcmp(first + part.at, second + part.at, count) == 0)

    @staticmethod
    def _hash(file: _File, part: Part, slot: _Slot, count: int) -> None:
        if file.hasher is None:
            file.hasher = blake3()
        with memoryview(slot.memory[0]) as view, view[part.at : part.at + count] as bytes_read:
            file.hasher.update(bytes_read)

    @staticmethod
    def _ended(file: _File, part: Part, primary: PartRead, secondary: PartRead) -> PairRead:
        item = part.item
        status = primary.status
        size, mtime_ns = (status.st_size, status.st_mtime_ns) if status is not None else (item.size, 0)
        content = b""
        if file.is_refused:
            outcome = Outcome.SUSPECT
        elif not (primary.is_still and secondary.is_still) or size != item.size:
            outcome = Outcome.MOVING
        elif not file.is_equal or file.hasher is None:
            outcome = Outcome.SUSPECT
        else:
            outcome, content = Outcome.EQUAL, file.hasher.digest()
        return PairRead(item, outcome, content, size, mtime_ns, part.begun_ns)

    def close(self) -> None:
        for readers in self._readers:
            for reader in readers:
                reader.close()


def _batches(items: Iterable[Item]) -> Iterator[list[Part]]:
    """Parts that fit into one batch's memory, small files together."""
    parts: list[Part] = []
    filled = 0
    for item in items:
        offset, begun_ns = 0, time.time_ns()
        while True:
            room = BATCH_BYTES - filled
            length = min(item.size - offset, BATCH_BYTES)
            # A large file begins a batch of its own: its parts are then as large as they can be.
            if parts and (rounded_up(length) > room or len(parts) >= _BATCH_FILES):
                yield parts
                parts, filled = [], 0
            parts.append(Part(item, begun_ns, offset, length, filled))
            filled += rounded_up(length)
            offset += length
            if offset >= item.size:
                break
    if parts:
        yield parts
