"""What is wrong with the entries of a table, whatever its scheme. Such entries are shown, not followed."""

from __future__ import annotations

from collections.abc import Sequence

from twinfs.images.partitions.table import Partition


def checked(partitions: Sequence[Partition], disk_sectors: int) -> tuple[Partition, ...]:
    """Each with its problem, if it has one: no length, out of range, overlapping another."""
    ranged = [_in_range(partition, disk_sectors) for partition in partitions]
    # A slice overlaps what it holds; it is followed all the same, and so is what it holds.
    slices = {each.inside for each in ranged}
    plain = [each for each in ranged if not each.is_container and each.index not in slices]
    overlapping = _overlaps([each for each in plain if not each.problem])
    return tuple(
        each.with_problem(f"overlaps partition {overlapping[each.index]}")
        if each.index in overlapping
        else each
        for each in ranged
    )


def _in_range(partition: Partition, disk_sectors: int) -> Partition:
    if partition.sectors <= 0:
        return partition.with_problem("has no sectors")
    if partition.start_sector >= disk_sectors:
        return partition.with_problem(
            f"starts at sector {partition.start_sector}, behind the disk's end ({disk_sectors})"
        )
    if partition.end_sector > disk_sectors:
        return partition.with_problem(
            f"ends at sector {partition.end_sector}, behind the disk's end ({disk_sectors})"
        )
    return partition


def _overlaps(partitions: Sequence[Partition]) -> dict[int, int]:
    """Partition numbers, each with that of another it overlaps. Sorted, so n log n for any table."""
    found: dict[int, int] = {}
    widest: Partition | None = None
    for each in sorted(partitions, key=lambda partition: (partition.start_sector, partition.index)):
        if widest is not None and each.start_sector < widest.end_sector:
            found[each.index] = widest.index
            found.setdefault(widest.index, each.index)
        if widest is None or each.end_sector > widest.end_sector:
            widest = each
    return found
