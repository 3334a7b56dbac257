"""Versions on a leg: `.twinfs/versions/SEGMENT/`, each with a `log` of changes and the objects they kept,
which are called by number. A segment is what is dropped at once; their names are in the order in which they
began."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from twinfs.journal.frames import FRAME, payload_at
from twinfs.mirror.folders import VERSIONS
from twinfs.mirror.versions import records
from twinfs.mirror.versions.records import NOTHING, Record, kept_of

LOG_NAME: Final = b"log"
FIRST: Final = 1
"""The number of a leg's first segment, or of the first after all were dropped."""
_NAME: Final = re.compile(rb"(\d{8})-(\d{8}T\d{6}\.\d{6})")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def segment_name(number: int, time_ns: int) -> bytes:
    moment = datetime.fromtimestamp(time_ns / 1e9, UTC)
    return b"%08d-%s" % (number, moment.strftime("%Y%m%dT%H%M%S.%f").encode())


def number_of(segment: bytes) -> int:
    return int(segment.partition(b"-")[0])


def begun_ns(segment: bytes) -> int:
    """When it was begun, in nanoseconds since the epoch, rounded down."""
    moment = datetime.strptime(segment.partition(b"-")[2].decode(), "%Y%m%dT%H%M%S.%f")
    elapsed = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86400 + elapsed.seconds) * 10**9 + elapsed.microseconds * 1000


def path_of(segment: bytes, number: int) -> bytes:
    """From the leg's root."""
    return b"%s/%s/%d" % (VERSIONS, segment, number)


def log_path(segment: bytes) -> bytes:
    """From the leg's root."""
    return b"%s/%s/%s" % (VERSIONS, segment, LOG_NAME)


def names(root_fd: int) -> list[bytes]:
    """All segments of a leg, the oldest first; none where nothing was ever kept."""
    try:
        fd = os.open(VERSIONS, _DIRECTORY, dir_fd=root_fd)
    except FileNotFoundError:
        return []
    try:
        return sorted(name for name in map(os.fsencode, os.listdir(fd)) if _NAME.fullmatch(name))
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Read:
    """A segment's log. `ends` are the positions in it after each record."""

    records: list[Record]
    ends: list[int]

    @property
    def used_bytes(self) -> int:
        return sum(kept.used_bytes for record in self.records if (kept := kept_of(record)) is not None)

    @property
    def last_number(self) -> int:
        """Of the objects."""
        kept = (kept_of(record) for record in self.records)
        return max((each.number for each in kept if each is not None), default=NOTHING)


def read(root_fd: int, segment: bytes) -> Read:
    """Nothing of one that was dropped meanwhile, or of which a kill left the directory only."""
    try:
        found = list(_records(_log_of(root_fd, segment)))
    except FileNotFoundError:
        return Read([], [])
    return Read([record for record, _ in found], [end for _, end in found])


def _log_of(root_fd: int, segment: bytes) -> bytes:
    fd = os.open(log_path(segment), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
    with open(fd, "rb") as file:
        return file.read()


def _records(data: bytes) -> Iterator[tuple[Record, int]]:
    position = 0
    while (payload := payload_at(data, position)) is not None:
        try:
            record = records.decode(payload)
        except msgspec.MsgspecError:
            return  # of a later version
        position += FRAME.size + len(payload)
        yield record, position
