"""What is told of a disk image: frozen values, shared by those who find it out and those who print it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImagePartition:
    """One entry of an image's partition table, with what is in it.

    `index` is Linux's number; 0 stands for the whole disk. `offset_bytes` is what `losetup -o` would want.
    `type` is as sfdisk -J gives it, `filesystem`, `label` and `uuid` as blkid gives them. `free_bytes` is
    None where it takes more than a look to know. `problem` tells why an entry is shown, but not followed.
    """

    index: int
    start_sector: int
    sectors: int
    offset_bytes: int
    size_bytes: int
    type: str
    name: str
    bootable: bool
    filesystem: str
    label: str
    uuid: str
    partition_uuid: str = ""
    attributes: str = ""
    total_bytes: int = 0
    free_bytes: int | None = None
    warnings: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ImageLogicalVolume:
    """A logical volume of LVM2 in an image: `name` is device-mapper's, `group-volume`.

    Or one of the further volumes of an APFS container: `pN-NAME`.
    """

    name: str
    size_bytes: int
    filesystem: str
    label: str
    uuid: str
    total_bytes: int = 0
    free_bytes: int | None = None
    warnings: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ImageSnapshot:
    """What a qcow2 keeps of the disk as it was. Bytes of names that are no UTF-8 are escapes."""

    name: str
    path: str
    """Of its directory in the tree: `/@NAME`."""
    id: str
    created_seconds: int
    """Since 1970."""
    size_bytes: int
    """Of the disk then."""
    state_bytes: int
    """Of the machine's memory, kept with it; 0: it was not running."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What `image info` tells. `container` names them all, the outermost first: "xz+qcow2"."""

    container: str
    virtual_size_bytes: int
    sector_size: int
    scheme: str
    id: str
    partitions: tuple[ImagePartition, ...]
    warnings: tuple[str, ...] = ()
    logical_volumes: tuple[ImageLogicalVolume, ...] = ()
    snapshots: tuple[ImageSnapshot, ...] = ()
