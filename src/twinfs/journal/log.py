"""The intent log's file: numbered records, appended, each with its length and checksum.

A record is one write(2), so after a kill the file ends with a whole record or a torn one that is
dropped; what it announced has then not been done. The file begins with how far it reached when the last
record had been written: one that was cut off later, between two records too, is known by that. It is not
fsynced for every record: a power cut is known by the legs' labels, and answered by comparing (see
mirror/recovery.py).
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from twinfs.errors import StateError
from twinfs.fsio.identity import boot_id
from twinfs.journal.frames import FRAME, framed, payload_at
from twinfs.journal.records import Abort, Clock, Closed, Compare, Header, Record

FORMAT_VERSION: Final = 2
_MAGIC: Final = b"twinfs\x00\x02"
_START: Final = struct.Struct("<8sQ")
"""What the file begins with: the magic, and up to where it has been written."""
_REACH_AT: Final = len(_MAGIC)
_CLOCK_SECONDS: Final = 1.0
_ROOM_BYTES: Final = 64 * 1024
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[int, Record]).decode


class LogError(OSError):
    """The state store refuses: neither leg is to blame, and no change may begin."""


class IntentLog:
    """Appends records; `reset` forgets them once nothing is pending. LogError when it cannot be written."""

    def __init__(self, directory: Path, volume_id: str, excludes: str = "", session: str = "") -> None:
        """`session` is that of the legs' labels, see `Header`."""
        self._path = directory / "intent.log"
        self._volume_id = volume_id
        self._excludes = excludes
        self.session = session
        self.follows = ""
        self.is_renumbered = False
        self.is_failing = False
        """Whether the last thing that was to be written could not be."""
        self._fd = -1
        self._start_fd = -1
        self._size_bytes = 0
        self._last_number = 0
        self._owed: deque[tuple[int, Record]] = deque()
        self._told_time = 0.0
        self.on_record: Callable[[int, Record], None] = lambda number, record: None
        """Told of every record but the clock's, with the log's lock held, by whichever thread wrote it."""
        self.before_forgetting: Callable[[], None] = lambda: None
        """Called before the log begins anew: what was recorded is then told by nobody else."""
        # The secondary's thread appends too.
        self._lock = threading.Lock()

    def start(
        self, records: Iterable[tuple[int, Record]], last_number: int, since_ns: int | None = None
    ) -> None:
        """Replace the file by one that holds `records`, and append to it from now on.

        `since_ns` is the time up to which both legs were known durable and equal but for `records`;
        None says that this is now.
        """
        records = list(records)
        self.before_forgetting()
        with self._lock, self._blamed():
            self._start(records, since_ns or time.time_ns(), is_durable=True)
            self._last_number = max(last_number, self._last_number)

    def _start(self, records: Iterable[tuple[int, Record]], since_ns: int, *, is_durable: bool) -> None:
        temporary = self._path.with_suffix(".new")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        start_fd = -1
        try:
            frames = [_frame(0, self._header(since_ns)), *(_frame(*record) for record in records)]
            size_bytes = _START.size + sum(map(len, frames))
            for data in (_START.pack(_MAGIC, size_bytes), *frames):
                self._write_whole(fd, data)
            if is_durable:
                os.fsync(fd)
            # Appending goes with O_APPEND, which pwrite(2) obeys, too: the start needs another descriptor.
            start_fd = os.open(temporary, os.O_WRONLY | os.O_CLOEXEC)
            os.rename(temporary, self._path)
        except BaseException:
            os.close(fd)
            if start_fd >= 0:
                os.close(start_fd)
            raise
        # First this: what is recorded from now on belongs into the file that has the name.
        self._close()
        self._fd, self._start_fd, self._size_bytes = fd, start_fd, size_bytes
        self._told_time = 0.0
        if is_durable:
            _fsync_directory(self._path.parent)

    def _close(self) -> None:
        for fd in (self._fd, self._start_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._start_fd = -1

    def _write_whole(self, fd: int, frame: bytes) -> None:
        if os.write(fd, frame) != len(frame):
            raise OSError(errno.ENOSPC, "no room for the intent log", str(self._path))

    def _header(self, since_ns: int) -> Header:
        return Header(
            FORMAT_VERSION,
            self._volume_id,
            boot_id(),
            since_ns,
            self._excludes,
            self.session,
            self.is_renumbered,
            self.follows,
        )

    def next_number(self) -> int:
        with self._lock:
            self._last_number += 1
            return self._last_number

    @property
    def last_number(self) -> int:
        return self._last_number

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def append(self, number: int, record: Record) -> None:
        """Write one record. A full state disk raises LogError, before anything on a leg has changed."""
        with self._lock:
            try:
                self._pay()
                self._write(number, record)
            except OSError as error:
                raise self._blame(error) from error
            self.is_failing = False

    def owe(self, number: int, record: Record) -> None:
        """Write a record about what has happened already. When there is no room, it goes before the
        next one that can be written."""
        with self._lock:
            self._owed.append((number, record))
            try:
                self._pay()
            except OSError:
                self.is_failing = True  # no room: it stays owed
            else:
                self.is_failing = False

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[None]:
        """An error of the state store is known as one: errnos alone look like a leg's."""
        try:
            yield
        except OSError as error:
            raise self._blame(error) from error
        self.is_failing = False

    def _blame(self, error: OSError) -> LogError:
        self.is_failing = True
        return LogError(error.errno, error.strerror, str(self._path))

    def try_again(self) -> None:
        """Find room for many records, and write one that says nothing: nobody may have anything to write
        while changes are refused."""
        probe = self._path.with_suffix(".probe")
        with self._lock, self._blamed():
            try:
                probe.write_bytes(bytes(_ROOM_BYTES))
            finally:
                probe.unlink(missing_ok=True)
            self._pay()
            self._write(0, Abort())

    def _pay(self) -> None:
        while self._owed:
            self._write(*self._owed[0])
            self._owed.popleft()

    def _write(self, number: int, record: Record) -> None:
        now = time.time()
        if abs(now - self._told_time) >= _CLOCK_SECONDS:
            self._write_frame(_frame(0, Clock(now)))
            self._told_time = now
        self._write_frame(_frame(number, record))
        self.on_record(number, record)

    def _write_frame(self, frame: bytes) -> None:
        written = os.write(self._fd, frame)
        if written != len(frame):
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError(errno.ENOSPC, "no room for the intent log", str(self._path))
        self._size_bytes += written
        try:
            os.pwrite(self._start_fd, self._size_bytes.to_bytes(8, "little"), _REACH_AT)
        except OSError:
            pass  # a cut that comes later would not be noticed; the record itself stands

    def reset(self) -> None:
        """Forget everything; only while nothing is pending and both legs are durable.

        By a rename, so that a kill leaves the old log or the new. Not fsynced: what a power cut can do
        here costs a comparison.
        """
        self.before_forgetting()
        with self._lock, self._blamed():
            self._start((), time.time_ns(), is_durable=False)

    def fsync(self) -> None:
        """In any thread: the log may begin anew meanwhile, and its descriptor's number be another file's."""
        with self._lock:
            fd = os.dup(self._fd)
        try:
            os.fsync(fd)
        except OSError as error:
            raise LogError(error.errno, error.strerror, str(self._path)) from error
        finally:
            os.close(fd)

    def close(self, *, is_clean: bool) -> None:
        """`is_clean` promises that nothing is pending and both legs are durable."""
        if is_clean:
            self.start([(self._last_number, Closed())], self._last_number)
        self._close()


def _frame(number: int, record: Record) -> bytes:
    return framed(_encode((number, record)))


def _fsync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def create(directory: Path, volume_id: str) -> None:
    """A new volume's log: the legs have never been compared."""
    directory.mkdir(parents=True, exist_ok=True)
    log = IntentLog(directory, volume_id)
    log.start([(1, Compare(b"", 0))], 1)
    log.close(is_clean=False)


class LogFile:
    """A log as a session left it: iterate for its records; then `is_whole` says if all could be read."""

    def __init__(self, directory: Path, volume_id: str) -> None:
        path = directory / "intent.log"
        self.is_there = True
        try:
            self._data = path.read_bytes()
            self.modified = path.stat().st_mtime
        except FileNotFoundError:
            self._data = b""
            self.is_there = False
            self.modified = time.time()
        except OSError as error:
            raise StateError(f"{path}: cannot read the intent log: {error.strerror}") from error
        self._volume_id = volume_id
        self.is_whole = False
        self.header: Header | None = None

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        if len(self._data) < _START.size:
            return
        magic, reach_bytes = _START.unpack_from(self._data)
        if magic != _MAGIC:
            return
        before = position = _START.size
        while (frame := self._frame_at(position)) is not None:
            before = position
            position, number, record = frame
            if isinstance(record, Header):
                if (record.volume_id, record.version) != (self._volume_id, FORMAT_VERSION):
                    return  # what it says is about other disks
                self.header = record
            else:
                yield number, record
        # A kill may have come between the last record and the word that it is there.
        is_complete = reach_bytes in (position, before) and self._is_torn_at(position)
        self.is_whole = self.header is not None and is_complete

    def _is_torn_at(self, position: int) -> bool:
        """Whether the rest is a record that a kill cut short, rather than damage: it reaches beyond the
        end, and no whole record begins in it."""
        rest = len(self._data) - position
        if rest >= FRAME.size:
            length, _ = FRAME.unpack_from(self._data, position)
            if length <= rest - FRAME.size or rest > _LONGEST_TORN_BYTES:
                return False
        return all(self._frame_at(start) is None for start in range(position + 1, len(self._data)))

    def _frame_at(self, position: int) -> tuple[int, int, Record] | None:
        payload = payload_at(self._data, position)
        if payload is None:
            return None
        try:
            number, record = _decode(payload)
        except msgspec.MsgspecError:
            return None
        return position + FRAME.size + len(payload), number, record


_LONGEST_TORN_BYTES: Final = 64 * 1024
