"""`image info`: what an image holds, without opening any file system."""

from __future__ import annotations

from twinfs.imageinfo import ImageInfo, ImageLogicalVolume, ImagePartition, ImageSnapshot
from twinfs.images.containers.snapshots import Snapshot
from twinfs.images.escapes import escaped
from twinfs.images.partitions import Partition
from twinfs.images.volumes import LOGICAL_BASE, Image, Volume


def describe(image: Image) -> ImageInfo:
    table, size = image.table, image.table.sector_size
    volumes = {volume.index: volume for volume in image.volumes}
    disk = image.disk.source.size_bytes
    whole = volumes.get(0)
    entries = [_entry(Partition(0, 0, disk // size, ""), size, whole)] if whole is not None else []
    entries += [_entry(each, size, volumes.get(each.index)) for each in table.partitions]
    return ImageInfo(
        container=image.disk.name,
        virtual_size_bytes=disk,
        sector_size=size,
        scheme=table.scheme.value,
        id=table.id,
        partitions=tuple(entries),
        warnings=(*image.disk.warnings, *table.warnings),
        logical_volumes=tuple(_logical(volume) for volume in image.volumes if volume.index >= LOGICAL_BASE),
        snapshots=tuple(map(_snapshot, image.disk.snapshots)),
    )


def _snapshot(found: Snapshot) -> ImageSnapshot:
    return ImageSnapshot(
        name=_text(found.name),
        path="/@" + _text(escaped(found.name)),
        id=_text(found.id),
        created_seconds=found.created_seconds,
        size_bytes=found.size_bytes,
        state_bytes=found.state_bytes,
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _logical(volume: Volume) -> ImageLogicalVolume:
    found = volume.found
    return ImageLogicalVolume(
        name=volume.name.decode(),
        size_bytes=volume.source.size_bytes,
        filesystem=found.kind if found is not None else "",
        label=found.label if found is not None else "",
        uuid=found.uuid if found is not None else "",
        total_bytes=found.total_bytes if found is not None else 0,
        free_bytes=found.free_bytes if found is not None else None,
        warnings=found.warnings if found is not None else (),
        problem=volume.error,
    )


def _entry(partition: Partition, sector_size: int, volume: Volume | None) -> ImagePartition:
    found = volume.found if volume is not None else None
    return ImagePartition(
        index=partition.index,
        start_sector=partition.start_sector,
        sectors=partition.sectors,
        offset_bytes=partition.start_sector * sector_size,
        size_bytes=partition.sectors * sector_size,
        type=partition.type,
        name=partition.name,
        bootable=partition.is_bootable,
        filesystem=found.kind if found is not None else "",
        label=found.label if found is not None else "",
        uuid=found.uuid if found is not None else "",
        partition_uuid=partition.uuid,
        attributes=partition.attributes,
        total_bytes=found.total_bytes if found is not None else 0,
        free_bytes=found.free_bytes if found is not None else None,
        warnings=found.warnings if found is not None else (),
        problem=partition.problem or (volume.error if volume is not None else ""),
    )
