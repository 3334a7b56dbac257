"""Which parts of a disk image were read from the disk, and which could not be: ddrescue's map file.

Pure: text in, values out, and back. Source of the format: the manual of GNU ddrescue 1.27, chapter
"Mapfile structure" (called "logfile" before 1.20; its status line then lacked the pass). A map may come
from anywhere: what is no map raises ImageError and nothing else.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from twinfs.errors import ImageError

# ddrescue keeps positions in 64 bits, signed.
_LARGEST_OFFSET: Final = (1 << 63) - 1
_LARGEST_TEXT_BYTES: Final = 256 << 20


class Status(StrEnum):
    """What is known of a block."""

    NON_TRIED = "?"
    NON_TRIMMED = "*"
    """A read of it failed; where in it the bad sectors are is not known."""
    NON_SCRAPED = "/"
    """Between two bad sectors, not yet tried sector by sector."""
    BAD = "-"
    FINISHED = "+"


# The status line can say these as well: filling, generating.
_PHASES: Final = frozenset("?*/-FG+")


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes [start, end) of the image, all of one status."""

    start: int
    end: int
    status: Status

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(slots=True)
class Position:
    """ddrescue's status line: where it was, in which phase (a Status, F or G), in which pass of it."""

    offset_bytes: int = 0
    phase: str = Status.NON_TRIED.value
    number: int = 1


@dataclass(slots=True)
class _Runs:
    """Run i is [starts[i], starts[i + 1]), the last one ends at the map's end. Neighbours differ."""

    starts: list[int] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)


class RescueMap:
    """Every byte of [0, size_bytes) has one status. Not safe to change from several threads at once."""

    def __init__(self, size_bytes: int, status: Status = Status.NON_TRIED) -> None:
        self.position = Position()
        self._size = 0
        self._runs = _Runs()
        self._totals = dict.fromkeys(Status, 0)
        self.extend(size_bytes, status)

    @property
    def size_bytes(self) -> int:
        return self._size

    def total_bytes(self, status: Status) -> int:
        return self._totals[status]

    def count(self, status: Status) -> int:
        """How many blocks of that status there are."""
        return self._runs.statuses.count(status)

    def status_at(self, offset_bytes: int) -> Status:
        """Raises IndexError outside of the map."""
        if not 0 <= offset_bytes < self._size:
            raise IndexError(offset_bytes)
        return self._runs.statuses[bisect_right(self._runs.starts, offset_bytes) - 1]

    def blocks(self, *statuses: Status) -> Iterator[Block]:
        """In ascending order; only those of the given statuses, where some are given.

        The map must not change meanwhile: make a list of it first.
        """
        starts = self._runs.starts
        for number, status in enumerate(self._runs.statuses):
            if not statuses or status in statuses:
                yield Block(starts[number], self._end_of(number), status)

    def unfinished(self) -> Iterator[tuple[int, int]]:
        """(start, end) of everything that was not read, neighbours joined, ascending."""
        begin: int | None = None
        for block in self.blocks():
            if block.status is not Status.FINISHED and begin is None:
                begin = block.start
            elif block.status is Status.FINISHED and begin is not None:
                yield begin, block.start
                begin = None
        if begin is not None:
            yield begin, self._size

    def is_finished(self, start: int, end: int) -> bool:
        """Whether all of [start, end) was read; false where it lies outside of the map."""
        if start >= end:
            return True
        number = bisect_right(self._runs.starts, start) - 1
        is_inside = start >= 0 and end <= self._size
        return is_inside and self._runs.statuses[number] is Status.FINISHED and end <= self._end_of(number)

    def extend(self, size_bytes: int, status: Status = Status.NON_TRIED) -> None:
        """Let the map reach to `size_bytes`; it never shrinks."""
        if size_bytes <= self._size:
            return
        begin, self._size = self._size, size_bytes
        if not self._runs.statuses or self._runs.statuses[-1] is not status:
            self._runs.starts.append(begin)
            self._runs.statuses.append(status)
        self._totals[status] += size_bytes - begin

    def mark(self, start: int, end: int, status: Status) -> None:
        """Give [start, end) a status; it must lie within the map."""
        if not 0 <= start <= end <= self._size:
            raise ValueError(f"[{start}, {end}) is not within [0, {self._size})")
        if start == end:
            return
        starts, statuses = self._runs.starts, self._runs.statuses
        first = bisect_right(starts, start) - 1
        beyond = bisect_left(starts, end)
        for number in range(first, beyond):
            covered = min(self._end_of(number), end) - max(starts[number], start)
            self._totals[statuses[number]] -= covered
        self._totals[status] += end - start
        pieces: list[tuple[int, Status]] = []
        if starts[first] < start:
            pieces.append((starts[first], statuses[first]))
        elif first > 0:
            first -= 1
            pieces.append((starts[first], statuses[first]))
        if not pieces or pieces[-1][1] is not status:
            pieces.append((start, status))
        if end < self._end_of(beyond - 1):
            _append(pieces, end, statuses[beyond - 1])
        elif beyond < len(starts):
            _append(pieces, end, statuses[beyond])
            beyond += 1
        starts[first:beyond] = [begin for begin, _ in pieces]
        statuses[first:beyond] = [kind for _, kind in pieces]

    def _end_of(self, number: int) -> int:
        starts = self._runs.starts
        return starts[number + 1] if number + 1 < len(starts) else self._size


def _append(pieces: list[tuple[int, Status]], start: int, status: Status) -> None:
    if pieces[-1][1] is not status:
        pieces.append((start, status))


def parse(text: str | bytes) -> RescueMap:
    """A map from its text. Raises ImageError, naming the line."""
    if len(text) > _LARGEST_TEXT_BYTES:
        raise ImageError(f"rescue map: {len(text)} bytes are more than any map has")
    words_by_line = _lines(text.decode("latin-1") if isinstance(text, bytes) else text)
    first = next(words_by_line, None)
    if first is None:
        raise ImageError("rescue map: no status line; the file is empty, or cut off")
    found = RescueMap(0)
    found.position = _position(*first)
    for number, words in words_by_line:
        start, end, status = _block(number, words)
        if start != found.size_bytes:
            # ddrescue lets a map begin later: what is before was not asked for.
            if found.size_bytes:
                raise ImageError(
                    f"rescue map, line {number}: the block begins at {start:#x},"
                    f" the one before ends at {found.size_bytes:#x}"
                )
            found.extend(start)
        found.extend(end, status)
    return found


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and words, without comments and empty lines."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        for place, word in enumerate(words):
            if word.startswith("#"):
                del words[place:]
                break
        if words:
            yield number, words


def _position(number: int, words: list[str]) -> Position:
    if len(words) not in (2, 3) or words[1] not in _PHASES:
        raise ImageError(f"rescue map, line {number}: no status line: {' '.join(words)[:80]!r}")
    pass_number = _integer(number, words[2]) if len(words) == 3 else 1
    return Position(_integer(number, words[0]), words[1], pass_number)


def _block(number: int, words: list[str]) -> tuple[int, int, Status]:
    if len(words) != 3:
        raise ImageError(f"rescue map, line {number}: no block: {' '.join(words)[:80]!r}")
    start, length = _integer(number, words[0]), _integer(number, words[1])
    try:
        status = Status(words[2])
    except ValueError:
        raise ImageError(f"rescue map, line {number}: no status: {words[2][:80]!r}") from None
    if length == 0 or start + length > _LARGEST_OFFSET:
        raise ImageError(f"rescue map, line {number}: a block cannot be {length:#x} bytes at {start:#x}")
    return start, start + length, status


def _integer(number: int, word: str) -> int:
    """As C reads it: 0x is hexadecimal, 0 octal. Without what Python allows beyond that (_, signs, 0b)."""
    lowered = word.lower()
    digits, base = lowered, 10
    if lowered.startswith("0x"):
        digits, base = lowered[2:], 16
    elif lowered.startswith("0") and len(lowered) > 1:
        digits, base = lowered[1:], 8
    try:
        if len(digits) > 32 or not digits.isalnum() or not digits.isascii():
            raise ValueError
        value = int(digits, base)
    except ValueError:
        raise ImageError(f"rescue map, line {number}: no number: {word[:80]!r}") from None
    if value > _LARGEST_OFFSET:
        raise ImageError(f"rescue map, line {number}: {word} is beyond any disk")
    return value


def render(rescue_map: RescueMap, comments: tuple[str, ...] = ()) -> str:
    """The text of a map, as ddrescue 1.20 and later write and read it. Comments come first, a line each."""
    position = rescue_map.position
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    lines += [
        "# current_pos  current_status  current_pass",
        f"0x{position.offset_bytes:08X}     {position.phase}               {position.number}",
        "#      pos        size  status",
    ]
    lines += [
        f"0x{block.start:08X}  0x{block.length:08X}  {block.status.value}" for block in rescue_map.blocks()
    ]
    return "\n".join(lines) + "\n"
