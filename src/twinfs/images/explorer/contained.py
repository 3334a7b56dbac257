"""Volumes that share the blocks of one container, as APFS has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twinfs.errors import ImageError
from twinfs.images.explorer.kinds import kind_of
from twinfs.images.explorer.library import (
    SourceAccess,
    VolumeInfo,
    VolumeSet,
    guarded,
    make_context,
    open_with,
)
from twinfs.images.probes import Found
from twinfs.images.protocol import ByteSource


@dataclass(frozen=True, slots=True)
class Contained:
    place: int
    """From 1 on, in the container's order; what `open_file_system` wants to be told."""
    name: str
    uuid: str
    problem: str
    """Why it cannot be read."""


def contained(source: ByteSource, found: Found) -> Sequence[Contained]:
    """All volumes but the one that stands for the container. Raises ImageError."""
    kind = kind_of(found.kind)
    if kind is None:
        return ()
    with guarded(found.kind):
        opened = open_with(kind.load(), SourceAccess(source), make_context())
        if not isinstance(opened, VolumeSet):
            return ()
        volumes = list(opened.volumes())
        first = _first(volumes)
        return [_told(place, each) for place, each in enumerate(volumes, 1) if place != first]


def chosen(opened: VolumeSet, place: int) -> object:
    """One of them, opened; 0: the one that stands for the container. Raises ImageError."""
    volumes = list(opened.volumes())
    place = place or _first(volumes)
    if not 0 < place <= len(volumes):
        raise ImageError("none of its volumes can be read")
    volume = volumes[place - 1]
    problem = _problem(volume)
    if volume.opener is None or problem:
        raise ImageError(problem)
    return volume.opener()


def _first(volumes: Sequence[VolumeInfo]) -> int:
    """The place of the first that can be read; 0: none can."""
    return next((place for place, each in enumerate(volumes, 1) if not _problem(each)), 0)


def _problem(volume: VolumeInfo) -> str:
    if volume.error is not None or volume.opener is None:
        return volume.error or "it cannot be read"
    return "it is encrypted, which is not read here" if volume.extra.get("encrypted") else ""


def _told(place: int, volume: VolumeInfo) -> Contained:
    label = volume.label_loader() if volume.label_loader is not None else None
    return Contained(place, label or "", str(volume.extra.get("uuid", "")), _problem(volume))
