"""What is asked for, and what came of it: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Format(StrEnum):
    RAW = "raw"
    QCOW2 = "qcow2"


@dataclass(frozen=True, slots=True)
class Settings:
    """One capture. `image` is where the raw bytes go: DEST, or a work file beside a qcow2 DEST."""

    source: Path
    dest: Path
    image: Path
    map: Path
    format: Format = Format.RAW
    is_resumed: bool = False
    retries: int = 1
    hashes: tuple[str, ...] = ()
    is_sparse: bool = True
    is_direct: bool | None = None
    sector_bytes: int | None = None
    is_verified: bool = False
    is_forced: bool = False
    is_live: bool = False
    may_wait: bool = True
    map_interval_seconds: float = 5.0


@dataclass(slots=True)
class Outcome:
    """What came of it. `unread`: (offset, length) that reads as zeros in the image."""

    size_bytes: int
    read_bytes: int = 0
    taken_bytes: int = 0
    """What this run has read, without what the map knew already."""
    seconds: float = 0.0
    unread: list[tuple[int, int]] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    """Of the disk's bytes, by the algorithm's name."""
    check_files: list[Path] = field(default_factory=list)
    mismatches: list[tuple[int, int]] | None = None
    """None: not verified."""
    grown_to_bytes: int | None = None
    """The size that the source has by now, if it is larger."""

    @property
    def is_whole(self) -> bool:
        return not self.unread and not self.mismatches


@dataclass(frozen=True, slots=True)
class Progress:
    """A look at a running capture. `taken_bytes`: read in this step, of what it began with."""

    step: str
    done_bytes: int
    total_bytes: int
    taken_bytes: int
    bad_bytes: int
    bad_areas: int
