"""An APFS container with two volumes, made of two with one each: no tool for Linux makes it."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Final

from fs_explorer.create.apfs import container
from fs_explorer.create.apfs.btree import build_tree
from fs_explorer.create.apfs.objects import BS, XID

from support.images import tool

SECOND_VOLUME: Final = 0x9999
_SIZE: Final = "64M"
_MAX_VOLUMES_AT: Final = 0xB4
_VOLUMES_AT: Final = 0xB8
_MAP_AT: Final = 0xA0
_TREE_AT: Final = 48

# The writer, told to leave the blocks before a given one alone.
_BEHIND: Final = """
import sys
from fs_explorer.create.apfs import container
first = int(sys.argv.pop(1))
plain = container.Allocator.__init__
def begin(self, start, end):
    plain(self, max(start, first), end)
container.Allocator.__init__ = begin
from fs_explorer.cli import main
sys.exit(main())
"""


def fletcher64(block: bytes) -> bytes:
    """The checksum of an APFS object, of all that follows it; see "Apple File System Reference"."""
    low = high = 0
    for (word,) in struct.iter_unpack("<I", block[8:]):
        low = (low + word) % 0xFFFFFFFF
        high = (high + low) % 0xFFFFFFFF
    first = 0xFFFFFFFF - (low + high) % 0xFFFFFFFF
    return struct.pack("<II", first, 0xFFFFFFFF - (low + first) % 0xFFFFFFFF)


def two_volumes(one: Path, other: Path, image: Path, names: tuple[str, str]) -> None:
    """`one` becomes the first volume, `other` the second."""
    words = (
        "create",
        "dmg",
        "--force",
        "--fs",
        "apfs",
        "--layout",
        "NONE",
        "--case-sensitive",
        "--size",
        _SIZE,
    )
    tool(sys.executable, "-m", "fs_explorer", *words, "--volname", names[0], image, one)
    whole = bytearray(image.read_bytes())
    behind = -(-len(whole.rstrip(b"\0")) // BS)
    second = image.with_name(image.name + ".second")
    tool(sys.executable, "-c", _BEHIND, str(behind), *words, "--volname", names[1], second, other)
    added = second.read_bytes()
    whole[behind * BS :] = added[behind * BS :]

    volumes = [at for at in range(0, len(whole), BS) if whole[at + 32 : at + 36] == b"APSB"]
    assert len(volumes) == 2
    struct.pack_into("<Q", whole, volumes[1] + 8, SECOND_VOLUME)
    free = iter(range(len(whole) // BS - 8, len(whole) // BS))

    def write(place: int, data: bytes | bytearray) -> None:
        assert not any(whole[place * BS : (place + 1) * BS])
        whole[place * BS : (place + 1) * BS] = data

    def allocate() -> tuple[int, int]:
        place = next(free)
        return place, place

    numbers = (container.OID_VOLUME, SECOND_VOLUME)
    records = [
        (struct.pack("<QQ", number, XID), struct.pack("<IIQ", 0, BS, at // BS))
        for number, at in zip(numbers, volumes, strict=True)
    ]
    made = build_tree(container.OMAP_SPEC, records, allocate, write)
    (map_place,) = struct.unpack_from("<Q", whole, _MAP_AT)
    struct.pack_into("<Q", whole, map_place * BS + _TREE_AT, made.root)
    changed = [volumes[1], map_place * BS]
    for at in range(0, len(whole), BS):
        if whole[at + 32 : at + 36] == b"NXSB":
            struct.pack_into("<I", whole, at + _MAX_VOLUMES_AT, 2)
            struct.pack_into("<Q", whole, at + _VOLUMES_AT + 8, SECOND_VOLUME)
            changed.append(at)
    for at in changed:
        whole[at : at + 8] = fletcher64(whole[at : at + BS])
    image.write_bytes(whole)
