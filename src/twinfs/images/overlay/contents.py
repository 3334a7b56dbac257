"""Bytes of changed files. Only what was written is copied out of the image, in pieces of 64 KiB.

A file of bytes is as long as the file it stands for, with holes where the image's bytes still count. A piece
counts from the moment at which it is recorded, and that is after all of it was written: when the process
dies in between, the image's piece is what is shown, whole. Shorter files are cut first and recorded then;
what is recorded beyond the end is no harm, since the end is known from the file of bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from twinfs.images.overlay.objects import Object
from twinfs.images.overlay.store import Store

PIECE_BYTES: Final = 64 << 10
_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Bytes:
    """One file's bytes, open. Offsets and lengths are in bytes."""

    def __init__(self, store: Store, of: Object) -> None:
        self._store = store
        self._id = of.id
        self._fd = os.open(_name(of.id), _OPEN, dir_fd=store.contents_fd)
        self.base_limit = min(of.base_limit, self.size_bytes)
        if self.base_limit < of.base_limit:
            # It was cut, and died before that was recorded. Now, before it can grow again.
            store.run("UPDATE object SET base_limit = ? WHERE id = ?", self.base_limit, of.id)
        rows = store.all("SELECT number FROM piece WHERE object = ?", of.id) if self.base_limit else []
        self._own = {number for (number,) in rows}

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._fd).st_size

    @property
    def blocks(self) -> int:
        """Of 512 bytes, as far as they are here."""
        return os.fstat(self._fd).st_blocks

    def _is_here(self, offset: int) -> bool:
        return offset >= self.base_limit or offset // PIECE_BYTES in self._own

    def runs(self, offset: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """(start, end, whether the bytes are here) for [offset, end), ascending."""
        start = offset
        while start < end:
            is_here = self._is_here(start)
            stop = start
            while stop < end and self._is_here(stop) == is_here:
                stop = end if stop >= self.base_limit else min(_next_piece(stop), self.base_limit)
            yield start, min(stop, end), is_here
            start = min(stop, end)

    def incomplete(self, offset: int, end: int) -> list[tuple[int, int]]:
        """(start, length) of pieces that a write to [offset, end) changes in part, and that are not here."""
        pieces = {offset // PIECE_BYTES, (end - 1) // PIECE_BYTES}
        found = []
        for number in sorted(pieces):
            start = number * PIECE_BYTES
            length = min(PIECE_BYTES, self.base_limit - start)
            if length > 0 and number not in self._own and not (offset <= start and end >= start + length):
                found.append((start, length))
        return found

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def fill(self, start: int, data: bytes) -> None:
        """Put the image's bytes of an `incomplete` piece here; it counts with the write that follows."""
        _write(self._fd, data, start)

    def write(self, offset: int, data: bytes) -> None:
        """All of it, or an OSError and perhaps some. Incomplete pieces have been filled."""
        _write(self._fd, data, offset)
        end = offset + len(data)
        touched = range(offset // PIECE_BYTES, -(-min(end, self.base_limit) // PIECE_BYTES))
        self._record([number for number in touched if number not in self._own])

    def _record(self, numbers: list[int]) -> None:
        if not numbers:
            return
        with self._store.transaction():
            rows = [(self._id, number) for number in numbers]
            self._store.run_many("INSERT OR REPLACE INTO piece VALUES (?, ?, 0)", rows)
        self._own.update(numbers)

    def cut(self, size_bytes: int) -> None:
        """Make it that long. What is new reads as zeros."""
        is_shorter = size_bytes < self.base_limit
        os.ftruncate(self._fd, size_bytes)
        if not is_shorter:
            return
        self.base_limit = size_bytes
        first_beyond = -(-size_bytes // PIECE_BYTES)
        with self._store.transaction():
            self._store.run("UPDATE object SET base_limit = ? WHERE id = ?", size_bytes, self._id)
            self._store.run("DELETE FROM piece WHERE object = ? AND number >= ?", self._id, first_beyond)
        self._own = {number for number in self._own if number < first_beyond}

    def sync(self) -> None:
        """May block; from any thread."""
        os.fsync(self._fd)

    def synced(self) -> None:
        """After `sync`, before anything else was written."""
        self._store.run("UPDATE piece SET is_durable = 1 WHERE object = ? AND is_durable = 0", self._id)
        os.fsync(self._store.contents_fd)
        self._store.make_durable()

    def data_ranges(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """(start, end) of what is no hole here."""
        while offset < end:
            try:
                start = os.lseek(self._fd, offset, os.SEEK_DATA)
            except OSError:
                return  # ENXIO: nothing but a hole
            if start >= end:
                return
            offset = min(os.lseek(self._fd, start, os.SEEK_HOLE), end)
            yield start, offset

    def close(self) -> None:
        os.close(self._fd)


def create(store: Store, number: int, size_bytes: int) -> None:
    """An object's file of bytes, all of it a hole. To be called before the object is said to have one."""
    fd = os.open(_name(number), _OPEN | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=store.contents_fd)
    try:
        os.ftruncate(fd, size_bytes)
    finally:
        os.close(fd)


def mend(store: Store, of: Object) -> None:
    """Where a power cut took an object's file of bytes, for nothing had made it durable: holes, as new."""
    try:
        status(store, of.id)
    except FileNotFoundError:
        create(store, of.id, of.size)


def remove(store: Store, number: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(_name(number), dir_fd=store.contents_fd)


def status(store: Store, number: int) -> os.stat_result:
    return os.stat(_name(number), dir_fd=store.contents_fd, follow_symlinks=False)


def sweep(store: Store, is_wanted: Callable[[int], bool]) -> None:
    """Remove files of objects that were never recorded, or are no more."""
    for name in os.listdir(store.contents_fd):
        if name.isdigit() and not is_wanted(int(name)):
            remove(store, int(name))


def _name(number: int) -> bytes:
    return b"%d" % number


def _next_piece(offset: int) -> int:
    return (offset // PIECE_BYTES + 1) * PIECE_BYTES


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written
