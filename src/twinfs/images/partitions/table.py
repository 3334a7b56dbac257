"""What a partition table says, the same for every scheme."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Scheme(StrEnum):
    """As `image info` names them; where sfdisk or parted have a name, theirs with `dos` called `mbr`."""

    MBR = "mbr"
    GPT = "gpt"
    HYBRID = "hybrid"
    APM = "apm"
    BSD = "bsd"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry, numbered as Linux numbers it: partition 3 of sda is sda3."""

    index: int
    start_sector: int
    sectors: int
    type: str
    """MBR: two hex digits; GPT: the type's GUID, upper case (both as sfdisk -J); others: the type's name."""
    name: str = ""
    uuid: str = ""
    is_bootable: bool = False
    attributes: str = ""
    """GPT: as sfdisk -J writes them."""
    is_container: bool = False
    """An extended partition: it holds others and no file system."""
    inside: int = 0
    """The number of the slice it lies in, where one partition holds a table of others (BSD)."""
    problem: str = ""
    """Why it is shown but not followed; empty: it is sound."""

    @property
    def end_sector(self) -> int:
        """The first sector after it."""
        return self.start_sector + self.sectors

    def with_problem(self, problem: str) -> Partition:
        return self if self.problem else replace(self, problem=problem)


@dataclass(frozen=True, slots=True)
class PartitionTable:
    scheme: Scheme
    sector_size: int
    partitions: tuple[Partition, ...] = ()
    id: str = ""
    """The disk's own identifier, as sfdisk -J gives it: 0x and eight hex digits, or a GUID."""
    warnings: tuple[str, ...] = ()
