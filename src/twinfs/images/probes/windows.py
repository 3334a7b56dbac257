"""FAT, exFAT, NTFS.

Sources: "Microsoft FAT Specification" (2004), "exFAT File System Specification" (Microsoft Learn), and the
Linux-NTFS documentation of $Boot, $Volume and FILE records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from twinfs.images.probes.found import Found, field, text
from twinfs.images.protocol import ByteSource

_CLUSTER_SIZES: Final = tuple(1 << power for power in range(8))
_FAT12_MAX: Final = 4085
_FAT16_MAX: Final = 65525
_MAX_CHAIN_READ: Final = 4096
"""Clusters of a root directory looked through for a label; it is the first entry nearly always."""


def fat(source: ByteSource) -> Found | None:
    boot = source.read_at(0, 512)
    if len(boot) < 512 or boot[0] not in (0xEB, 0xE9, 0x49):
        return None
    sector, cluster_sectors, reserved, fats, roots, small, _media, fat_small = struct.unpack_from(
        "<HBHBHHBH", boot, 11
    )
    large, fat_large = struct.unpack_from("<II", boot, 32)
    if sector not in (512, 1024, 2048, 4096) or cluster_sectors not in _CLUSTER_SIZES:
        return None
    fat_sectors, total = fat_small or fat_large, small or large
    root_sectors = -(-roots * 32 // sector)
    data_sector = reserved + fats * fat_sectors + root_sectors
    if not reserved or not 1 <= fats <= 4 or not fat_sectors or total <= data_sector:
        return None
    is_fat32 = not fat_small
    serial_at, label_at = (67, 71) if is_fat32 else (39, 43)
    has_extended = boot[serial_at - 1] in (0x28, 0x29)
    clusters = (total - data_sector) // cluster_sectors
    cluster_bytes = cluster_sectors * sector
    if is_fat32:
        root = _fat32_root(source, boot, reserved * sector, data_sector * sector, cluster_bytes, clusters)
    else:
        root = iter([source.read_at((data_sector - root_sectors) * sector, roots * 32)])
    label = next(filter(None, map(_fat_label, root)), "") or _boot_label(boot, label_at, has_extended)
    (serial,) = struct.unpack_from("<I", boot, serial_at)
    uuid = f"{serial >> 16:04X}-{serial & 0xFFFF:04X}" if has_extended and serial else ""
    free = _fat32_free(source, boot, sector) if is_fat32 else None
    return Found(
        "vfat", label, uuid, clusters * cluster_bytes, None if free is None else free * cluster_bytes
    )


def _boot_label(boot: bytes, label_at: int, has_extended: bool) -> str:
    label = text(boot[label_at : label_at + 11], "cp437") if has_extended else ""
    return "" if label == "NO NAME" else label


def _fat32_root(
    source: ByteSource, boot: bytes, fat_at: int, data_at: int, cluster_bytes: int, clusters: int
) -> Iterator[bytes]:
    (cluster,) = struct.unpack_from("<I", boot, 44)
    for _ in range(_MAX_CHAIN_READ):
        if not 2 <= cluster < clusters + 2:
            return
        yield source.read_at(data_at + (cluster - 2) * cluster_bytes, cluster_bytes)
        (cluster,) = field(source, "<I", fat_at + 4 * cluster)
        cluster &= 0x0FFFFFFF


def _fat_label(directory: bytes) -> str:
    for at in range(0, len(directory) - 31, 32):
        if directory[at] == 0:
            break
        attributes = directory[at + 11]
        if directory[at] != 0xE5 and attributes & 0x08 and attributes & 0x3F != 0x0F:
            return text(directory[at : at + 11].replace(b"\x05", b"\xe5", 1), "cp437")
    return ""


def _fat32_free(source: ByteSource, boot: bytes, sector: int) -> int | None:
    """FSInfo's count, which the standard calls a hint: good for eyes."""
    (at,) = struct.unpack_from("<H", boot, 48)
    info = source.read_at(at * sector, 512)
    if len(info) < 512 or info[:4] != b"RRaA" or info[484:488] != b"rrAa":
        return None
    (free,) = struct.unpack_from("<I", info, 488)
    return None if free == 0xFFFFFFFF else int(free)


def exfat(source: ByteSource) -> Found | None:
    boot = source.read_at(0, 512)
    if len(boot) < 512 or boot[3:11] != b"EXFAT   ":
        return None
    _fat_at, _fat_sectors, heap, clusters, root, serial = struct.unpack_from("<IIIIII", boot, 80)
    sector_shift, cluster_shift = boot[108], boot[109]
    if not 9 <= sector_shift <= 12 or sector_shift + cluster_shift > 25:
        return None
    cluster_bytes = 1 << sector_shift + cluster_shift
    at = (heap << sector_shift) + (root - 2) * cluster_bytes
    directory = source.read_at(at, min(cluster_bytes, 1 << 20))
    label, bitmap = "", (0, 0)
    for position in range(0, len(directory) - 31, 32):
        entry = directory[position : position + 32]
        if entry[0] == 0:
            break
        if entry[0] == 0x83:
            label = entry[2 : 2 + 2 * min(entry[1], 11)].decode("utf-16-le", "replace")
        elif entry[0] == 0x81:
            bitmap = struct.unpack_from("<IQ", entry, 20)
    used = _bits(source, (heap << sector_shift) + (bitmap[0] - 2) * cluster_bytes, clusters)
    free = None if bitmap[0] < 2 else (clusters - used) * cluster_bytes
    dirty = struct.unpack_from("<H", boot, 106)[0] & 2
    return Found(
        "exfat",
        label,
        f"{serial >> 16:04X}-{serial & 0xFFFF:04X}" if serial else "",
        clusters * cluster_bytes,
        free,
        ("it was not unmounted cleanly",) if dirty else (),
    )


def _bits(source: ByteSource, offset_bytes: int, count: int) -> int:
    """Set bits among the first `count`, read in pieces."""
    total, end = 0, offset_bytes + (count + 7) // 8
    for at in range(offset_bytes, min(end, source.size_bytes), 1 << 20):
        piece = source.read_at(at, min(1 << 20, end - at))
        if at + len(piece) == end and count % 8:
            piece = piece[:-1] + bytes([piece[-1] & (1 << count % 8) - 1])
        total += int.from_bytes(piece, "little").bit_count()
    return total


def ntfs(source: ByteSource) -> Found | None:
    boot = source.read_at(0, 512)
    if len(boot) < 512 or boot[3:11] != b"NTFS    ":
        return None
    sector, cluster_sectors = struct.unpack_from("<HB", boot, 11)
    total, mft = struct.unpack_from("<QQ", boot, 40)
    (serial,) = struct.unpack_from("<Q", boot, 72)
    if sector not in (256, 512, 1024, 2048, 4096):
        return None
    cluster_bytes = sector * (cluster_sectors if cluster_sectors <= 128 else 1 << 256 - cluster_sectors)
    size = struct.unpack_from("<b", boot, 64)[0]
    record_bytes = size * cluster_bytes if size > 0 else 1 << min(-size, 16)
    if not 256 <= record_bytes <= 1 << 16 or not 256 <= cluster_bytes <= 1 << 21:
        return None
    record = _mended(source.read_at(mft * cluster_bytes + 3 * record_bytes, record_bytes))
    label, flags = "", 0
    for kind, value in _resident(record):
        if kind == 0x60:
            label = value.decode("utf-16-le", "replace")
        elif kind == 0x70 and len(value) >= 12:
            flags = int.from_bytes(value[10:12], "little")
    warnings = ("it was not unmounted cleanly; its journal is not replayed",) if flags & 1 else ()
    return Found("ntfs", label, f"{serial:016X}", total * sector, None, warnings)


def _mended(record: bytes) -> bytearray:
    """A FILE record with the ends of its sectors put back, see "Fixup" in the documentation."""
    fixed = bytearray(record)
    if len(record) < 48 or record[:4] != b"FILE":
        return bytearray()
    at, count = struct.unpack_from("<HH", record, 4)
    for number in range(1, min(count, len(record) // 512 + 1)):
        fixed[number * 512 - 2 : number * 512] = record[at + 2 * number : at + 2 * number + 2]
    return fixed


def _resident(record: bytearray) -> Iterator[tuple[int, bytes]]:
    at = struct.unpack_from("<H", record, 20)[0] if record else 0
    while record and at + 24 <= len(record):
        kind, length = struct.unpack_from("<II", record, at)
        if kind == 0xFFFFFFFF or length < 24:
            return
        if not record[at + 8]:
            size, start = struct.unpack_from("<IH", record, at + 16)
            yield kind, bytes(record[at + start : at + start + size])
        at += length
