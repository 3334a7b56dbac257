"""Reads LVM2: the logical volumes, linear and striped, of physical volumes in one image. Our own.

Source: LVM2, lib/format_text/layout.h; lvm.conf(5), vgcfgbackup(8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twinfs.errors import ImageError
from twinfs.images.lvm import group, label, text
from twinfs.images.lvm.group import Group, Layout
from twinfs.images.lvm.label import PhysicalVolume
from twinfs.images.lvm.volume import LogicalVolumeSource, UnreadableSource
from twinfs.images.protocol import ByteSource

__all__ = ["LogicalVolume", "logical_volumes"]


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A logical volume of a volume group."""

    name: str
    """Letters, digits, `+`, `_`, `.` and `-` only, as the group's."""
    source: ByteSource
    """Its bytes. Where they cannot be had, reading raises the ImageError that says why."""
    group: str
    uuid: str
    """As LVM writes it, without dashes."""
    problem: str | None = None
    """Why it cannot be read."""


def logical_volumes(source: ByteSource, others: Sequence[ByteSource] = ()) -> list[LogicalVolume] | None:
    """The logical volumes of the group that a physical volume belongs to; None: the source is none.

    `others` are further parts of the same image, where the group's other physical volumes may be. A volume
    with segments elsewhere, or of kinds that are not read, is listed with its `problem`. A physical volume
    that is in no group has none. Raises ImageError for damaged metadata.
    """
    own = label.read(source)
    if own is None:
        return None
    found = {own.uuid: (source, own)}
    for other in others:
        header = _label_of(other)
        if header is not None:
            found.setdefault(header.uuid, (other, header))
    newest = _newest(own, found)
    if newest is None:
        return []
    sources = {name: found[uuid][0] for name, uuid in newest.physical.items() if uuid in found}
    return [_volume(layout, newest, sources) for layout in newest.logical]


def _label_of(source: ByteSource) -> PhysicalVolume | None:
    """A damaged label of another part is no reason not to read this one."""
    try:
        return label.read(source)
    except ImageError:
        return None


def _newest(own: PhysicalVolume, found: dict[str, tuple[ByteSource, PhysicalVolume]]) -> Group | None:
    """The latest description of the group that `own` is in, by any physical volume that has one.

    Every change is written to all copies, one after another: one may be old, or torn.
    """
    groups: list[Group] = []
    damage: list[ImageError] = []
    is_described = False
    for source, header in found.values():
        for area in header.areas:
            try:
                described = label.metadata(source, area)
                if described is not None:
                    is_described |= header is own
                    groups.append(group.from_text(text.parse(described)))
            except ImageError as error:
                if header is own:
                    damage.append(error)
    groups = [candidate for candidate in groups if own.uuid in candidate.physical.values()]
    if groups:
        return max(groups, key=lambda candidate: candidate.sequence)
    if damage:
        raise damage[0]
    if own.areas and not is_described:
        return None
    if own.areas:
        raise ImageError("lvm: the physical volume is not part of the volume group that it describes")
    raise ImageError("lvm: the physical volume has no metadata: another disk of its group has it")


def _volume(layout: Layout, owner: Group, sources: dict[str, ByteSource]) -> LogicalVolume:
    problem = layout.refusal
    missing = {part.volume for segment in layout.segments for part in segment.parts} - sources.keys()
    if problem is None and missing:
        names = ", ".join(f"{name} ({owner.physical[name]})" for name in sorted(missing))
        problem = f"parts of it are on physical volumes that are not in this image: {names}"
    source: ByteSource
    if problem is None:
        source = LogicalVolumeSource(layout, sources)
    else:
        source = UnreadableSource(layout.size_bytes, f"lvm: volume {owner.name}/{layout.name}: {problem}")
    return LogicalVolume(layout.name, source, owner.name, layout.uuid, problem)
