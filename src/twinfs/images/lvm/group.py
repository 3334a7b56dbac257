"""A volume group, from the text that describes it: physical volumes, logical volumes, segments.

Source: LVM2, lib/format_text/import_vsn1.c; vgcfgbackup(8) writes the same text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from twinfs.errors import ImageError
from twinfs.images.lvm.text import Section

_NAME = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]*\Z")
_SECTOR = 512
_LARGEST = 1 << 63


@dataclass(frozen=True, slots=True)
class Part:
    """Where a stripe lies: the physical volume by its name in the text, and its first byte there."""

    volume: str
    offset_bytes: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a logical volume, in stripes over one or more parts."""

    start: int
    """In bytes of the logical volume, as all here."""
    length: int
    stripe_bytes: int
    """How much lies on one part before the next one's turn; for one part the whole length."""
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A logical volume: its segments, or why it cannot be read."""

    name: str
    uuid: str
    size_bytes: int
    segments: tuple[Segment, ...]
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """A volume group. `sequence` grows with every change of it."""

    name: str
    sequence: int
    physical: dict[str, str]
    """The number of each physical volume, without dashes, by its name in the text."""
    logical: tuple[Layout, ...]


def from_text(config: Section) -> Group:
    """Raises ImageError for what is missing or cannot be."""
    groups = [(name, section) for name, section in config.items() if isinstance(section, dict)]
    if len(groups) != 1:
        raise ImageError(f"lvm: metadata is damaged: it describes {len(groups)} volume groups, not one")
    name, section = groups[0]
    extent_bytes = _number(section, "extent_size", 1) * _SECTOR
    volumes = {
        key: _Volume(_number(value, "pe_start", 0) * _SECTOR, _number(value, "pe_count", 0), _uuid(value))
        for key, value in _sections(section, "physical_volumes").items()
    }
    logical = _sections(section, "logical_volumes")
    stores = {
        segment.get("cow_store")
        for value in logical.values()
        for segment in value.values()
        if isinstance(segment, dict)
    }
    reader = _Reader(extent_bytes, volumes)
    layouts = [
        reader.layout(_checked(key), value, is_store=key in stores)
        for key, value in logical.items()
        if "VISIBLE" in _list(value, "status")
    ]
    physical = {key: volume.uuid for key, volume in volumes.items()}
    return Group(_checked(name), _number(section, "seqno", 0), physical, tuple(layouts))


@dataclass(frozen=True, slots=True)
class _Volume:
    start: int
    extents: int
    uuid: str


class _Reader:
    """Reads logical volumes of one group."""

    def __init__(self, extent_bytes: int, volumes: dict[str, _Volume]) -> None:
        self._extent_bytes = extent_bytes
        self._volumes = volumes

    def layout(self, name: str, section: Section, *, is_store: bool) -> Layout:
        count = _number(section, "segment_count", 0)
        sections = [value for key, value in section.items() if isinstance(value, dict)]
        if count != len(sections):
            raise ImageError(f"lvm: volume {name} is damaged: {len(sections)} segments where it says {count}")
        sections.sort(key=lambda value: _number(value, "start_extent", 0))
        refusal = "it is a snapshot, whose blocks cannot be put together" if is_store else None
        segments = []
        extents = 0
        for value in sections:
            start, length = _number(value, "start_extent", 0), _number(value, "extent_count", 1)
            if start != extents:
                raise ImageError(f"lvm: volume {name} is damaged: no segment holds its extent {extents}")
            extents += length
            kind = value.get("type")
            if kind == "striped":
                segments.append(self._striped(name, value, start, length))
            elif refusal is None:
                refusal = f"it has segments of type {kind}; only linear and striped ones are read"
        size = extents * self._extent_bytes
        if size >= _LARGEST:
            raise ImageError(f"lvm: volume {name} is damaged: a size of {size} bytes")
        return Layout(name, _uuid(section), size, tuple(segments) if refusal is None else (), refusal)

    def _striped(self, name: str, section: Section, start: int, length: int) -> Segment:
        """`stripes` is a list of pairs: a physical volume and the first of its extents."""
        stripes = _list(section, "stripes")
        count = _number(section, "stripe_count", 1)
        if len(stripes) != 2 * count or length % count:
            raise ImageError(f"lvm: volume {name} is damaged: {length} extents in {count} stripes")
        each = length // count
        stripe_bytes = length * self._extent_bytes
        if count > 1:
            stripe_bytes = _number(section, "stripe_size", 1) * _SECTOR
            if each * self._extent_bytes % stripe_bytes:
                raise ImageError(f"lvm: volume {name} is damaged: stripes of {stripe_bytes} bytes do not fit")
        parts = []
        for volume_name, first in zip(stripes[::2], stripes[1::2], strict=True):
            volume = self._volumes.get(volume_name) if isinstance(volume_name, str) else None
            if volume is None or not isinstance(first, int) or not 0 <= first <= volume.extents - each:
                raise ImageError(f"lvm: volume {name} is damaged: a stripe at {first} of {volume_name}")
            parts.append(Part(str(volume_name), volume.start + first * self._extent_bytes))
        return Segment(start * self._extent_bytes, length * self._extent_bytes, stripe_bytes, tuple(parts))


def _sections(section: Section, key: str) -> dict[str, Section]:
    found = section.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(value, dict) for value in found.values()):
        raise ImageError(f"lvm: metadata is damaged: {key} is no list of sections")
    return {name: value for name, value in found.items() if isinstance(value, dict)}


def _number(section: Section, key: str, smallest: int) -> int:
    value = section.get(key)
    if not isinstance(value, int) or not smallest <= value < _LARGEST:
        raise ImageError(f"lvm: metadata is damaged: {key} is {value!r}")
    return value


def _list(section: Section, key: str) -> list[object]:
    value = section.get(key)
    return list(value) if isinstance(value, list) else [value]


def _uuid(section: Section) -> str:
    value = section.get("id")
    if not isinstance(value, str):
        raise ImageError(f"lvm: metadata is damaged: an id is {value!r}")
    return value.replace("-", "")


def _checked(name: str) -> str:
    """Names become parts of paths. lvm(8): letters, digits, + _ . and -."""
    if not _NAME.match(name) or name in (".", "..") or len(name) > 127:
        raise ImageError(f"lvm: metadata is damaged: a volume named {name[:200]!r}")
    return name
