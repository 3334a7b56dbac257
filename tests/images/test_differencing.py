"""Differencing VHD and VHDX: what qemu-img cannot make, written here as the published formats say.

Sources: "Virtual Hard Disk Image Format Specification" 1.0; [MS-VHDX] 2.0. The parents are qemu-img's.
"""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from images.test_containers import digest
from support.images import MIB, blank, tool
from support.machine import run
from support.volume import twinfs_command
from twinfs.errors import ImageError
from twinfs.images.containers import open_disk
from twinfs.images.xfs.crc32c import crc32c

SIZE = 8 * MIB
SECTOR = 512
CHANGED = ((3, 1), (4090, 12), (8192, 4096), (16_000, 384))
"""(first sector, count): within a block, across two, all of one, at the disk's end."""


def disk(directory: Path) -> tuple[Path, bytes]:
    """A raw disk with bytes, and what the child makes of it."""
    chance = random.Random(11)
    raw = blank(directory / "raw", SIZE)
    content = bytearray(chance.randbytes(SIZE))
    content[2 * MIB : 3 * MIB] = bytes(MIB)
    raw.write_bytes(content)
    for first, count in CHANGED:
        content[first * SECTOR : (first + count) * SECTOR] = chance.randbytes(count * SECTOR)
    return raw, bytes(content)


def own_sectors(first: int, count: int) -> set[int]:
    """Of a block's sectors, those that the child has."""
    changed = {sector for start, number in CHANGED for sector in range(start, start + number)}
    return {sector - first for sector in changed if first <= sector < first + count}


def sum_of(raw: bytes) -> int:
    return ~sum(raw) & 0xFFFFFFFF


def vhd(path: Path, parent: Path, content: bytes, name: str = ".\\parent.vhd", **ids: bytes) -> Path:
    """Dynamic, with blocks of 2 MiB, of which each begins with a bitmap of its sectors."""
    block, per_block = 2 * MIB, 2 * MIB // SECTOR
    count = SIZE // block
    footer = bytearray(parent.read_bytes()[-SECTOR:])
    parent_id = ids.get("parent_id", bytes(footer[68:84]))
    footer[60:64], footer[64:68], footer[68:84] = struct.pack(">I", 4), bytes(4), bytes(range(16))
    footer[16:24] = struct.pack(">Q", SECTOR)
    footer[64:68] = struct.pack(">I", sum_of(footer))
    locator = name.encode("utf-16-le")
    numbers = (0xFFFFFFFFFFFFFFFF, 2048, 0x10000, count, block, 0)
    own_name = name.rpartition("\\")[2].encode("utf-16-be")
    header = struct.pack(">8sQQIIII16sII512s", b"cxsparse", *numbers, parent_id, 0, 0, own_name)
    header += struct.pack(">4sIIIQ", b"W2ru", SECTOR, len(locator), 0, 1536)
    header = header.ljust(1024, b"\0")
    header = header[:36] + struct.pack(">I", sum_of(header)) + header[40:]
    table, data = [], b""
    for number in range(count):
        own = own_sectors(number * per_block, per_block)
        table.append(0xFFFFFFFF if not own else (4096 + len(data)) // SECTOR)
        bitmap = bytearray(per_block // 8)
        for sector in own:
            bitmap[sector // 8] |= 0x80 >> sector % 8
        piece = bytearray(b"\xee" * block)  # what is the parent's must not be looked at
        for sector in own:
            at = (number * per_block + sector) * SECTOR
            piece[sector * SECTOR : (sector + 1) * SECTOR] = content[at : at + SECTOR]
        data += bytes(bitmap) + bytes(piece) if own else b""
    entries = struct.pack(f">{count}I", *table).ljust(SECTOR, b"\xff")
    front = (bytes(footer) + header).ljust(1536, b"\0") + locator.ljust(SECTOR, b"\0")
    path.write_bytes((front + entries).ljust(4096, b"\0") + data + bytes(footer))
    return path


def signed(raw: bytes) -> bytes:
    return raw[:4] + struct.pack("<I", crc32c(raw[:4] + bytes(4) + raw[8:])) + raw[8:]


BAT, METADATA = "2DC27766-F623-4200-9D64-115E9BFD4A08", "8B7CA206-4790-4B9A-B8FE-575F050F886E"
ITEMS = {
    "parameters": ("CAA16737-FA36-4D43-B3B6-33F0AA44E76B", 4),
    "size": ("2FA54224-CD1B-4876-B211-5DBED83BF4B8", 6),
    "logical": ("8141BF1D-A96F-4709-BA47-F233A8FAAB5F", 6),
    "physical": ("CDA348C7-445D-4471-9CC9-E9885251C556", 6),
    "locator": ("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C", 4),
    "page83": ("BECA12AB-B2E6-4523-93EF-C309E000C746", 6),
}


def guid(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


def linkage_of(parent: Path) -> str:
    """The data write GUID of the header that is in force."""
    whole = parent.read_bytes()[64 << 10 : 192 << 10]
    headers = [whole[at : at + 4096] for at in (0, 64 << 10)]
    newest = max(headers, key=lambda each: struct.unpack_from("<Q", each, 8))
    return str(uuid.UUID(bytes_le=newest[32:48]))


def locator_of(values: dict[str, str]) -> bytes:
    head = guid("B04AEFB7-D19E-4A81-B789-25B8E9445913") + struct.pack("<HH", 0, len(values))
    at, entries, text = len(head) + 12 * len(values), b"", b""
    for key, value in values.items():
        raw_key, raw_value = key.encode("utf-16-le"), value.encode("utf-16-le")
        place = at + len(text)
        entries += struct.pack("<IIHH", place, place + len(raw_key), len(raw_key), len(raw_value))
        text += raw_key + raw_value
    return head + entries + text


def metadata(values: dict[str, bytes]) -> bytes:
    table, items, at = b"", b"", 64 << 10
    for name, value in values.items():
        item, flags = ITEMS[name]
        table += guid(item) + struct.pack("<IIII", at + len(items), len(value), flags, 0)
        items += value
    head = struct.pack("<8sHH20x", b"metadata", 0, len(values)) + table
    return (head.ljust(64 << 10, b"\0") + items).ljust(MIB, b"\0")


def vhdx(path: Path, parent: Path, content: bytes, name: str = ".\\parent.vhdx", linkage: str = "") -> Path:
    """Blocks of 1 MiB: absent, partly or wholly present; one bitmap for all of them in a block of its own."""
    per_block, count, bitmap_slot = MIB // SECTOR, SIZE // MIB, (1 << 23) * SECTOR // MIB
    linkage = linkage or linkage_of(parent)
    headers = b""
    for number in (1, 2):
        ids = (bytes(16), bytes(15) + b"\7", bytes(16))
        fields = struct.pack("<4sIQ16s16s16sHHIQ", b"head", 0, number, *ids, 0, 1, MIB, MIB)
        headers += signed(fields.ljust(4096, b"\0")).ljust(64 << 10, b"\0")
    places = guid(BAT) + struct.pack("<QII", 3 * MIB, MIB, 1)
    places += guid(METADATA) + struct.pack("<QII", 2 * MIB, MIB, 1)
    regions = signed((struct.pack("<4sIII", b"regi", 0, 2, 0) + places).ljust(64 << 10, b"\0"))
    items = metadata(
        {
            "parameters": struct.pack("<II", MIB, 2),
            "size": struct.pack("<Q", SIZE),
            "logical": struct.pack("<I", SECTOR),
            "physical": struct.pack("<I", 4096),
            "page83": bytes(range(16)),
            "locator": locator_of({"parent_linkage": f"{{{linkage}}}", "relative_path": name}),
        }
    )
    table, data, bitmap = [0] * (bitmap_slot + 1), b"", bytearray(MIB)
    table[bitmap_slot] = 4 << 20 | 6
    for number in range(count):
        own = own_sectors(number * per_block, per_block)
        if not own:
            continue
        table[number] = (5 << 20) + len(data) | (6 if len(own) == per_block else 7)
        piece = bytearray(b"\xee" * MIB)
        for sector in own:
            whole = number * per_block + sector
            bitmap[whole // 8] |= 1 << whole % 8
            piece[sector * SECTOR : (sector + 1) * SECTOR] = content[whole * SECTOR : (whole + 1) * SECTOR]
        data += bytes(piece)
    front = b"vhdxfile".ljust(64 << 10, b"\0") + headers + 2 * regions
    entries = struct.pack(f"<{len(table)}Q", *table).ljust(MIB, b"\0")
    path.write_bytes(front.ljust(2 * MIB, b"\0") + items + entries + bytes(bitmap) + data)
    return path


KINDS: dict[str, tuple[str, tuple[str, ...], Callable[..., Path]]] = {
    "vhd": ("vpc", ("-o", "force_size=on"), vhd),
    "vhdx": ("vhdx", (), vhdx),
}


@pytest.fixture(params=KINDS)
def family(request, tmp_path):
    """(kind, the parent's path, what the child must read as, how to write a child)."""
    driver, options, make = KINDS[request.param]
    raw, content = disk(tmp_path)
    parent = tmp_path / f"parent.{request.param}"
    tool("qemu-img", "convert", "-O", driver, *options, raw, parent)
    return request.param, parent, content, make


def content_of(path: Path) -> bytes:
    opened = open_disk(str(path))
    try:
        return opened.source.read_at(0, opened.source.size_bytes)
    finally:
        opened.close()


def test_each_sector_is_the_child_s_or_the_parent_s(family):
    kind, parent, content, make = family
    child = make(parent.with_name(f"child.{kind}"), parent, content)
    opened = open_disk(str(child))
    try:
        assert opened.name == kind
        assert opened.source.size_bytes == SIZE
        ranges = list(opened.source.data_ranges(0, SIZE))
        whole = bytearray(SIZE)
        for start, length in ranges:
            whole[start : start + length] = opened.source.read_at(start, length)
        first = digest(opened.source)
    finally:
        opened.close()
    assert content_of(child) == content == bytes(whole)
    assert first


@pytest.mark.parametrize("family", ["vhd"], indirect=True)
def test_a_child_of_a_child(family):
    _, parent, content, make = family
    child = make(parent.with_name("child.vhd"), parent, content)
    changed = bytes(reversed(content))
    expected = bytearray(content)
    for first, count in CHANGED:
        own = slice(first * SECTOR, (first + count) * SECTOR)
        expected[own] = changed[own]
    grandchild = make(parent.with_name("grandchild.vhd"), child, changed, ".\\child.vhd")
    assert content_of(grandchild) == expected


def test_a_parent_that_is_missing_or_another_is_an_error(family):
    kind, parent, content, make = family
    wrong = {"parent_id": b"another id here!"} if kind == "vhd" else {"linkage": str(uuid.UUID(int=5))}
    stranger = make(parent.with_name(f"stranger.{kind}"), parent, content, **wrong)
    with pytest.raises(ImageError, match=r"parent 'parent.* does not match"):
        content_of(stranger)
    done = run(*twinfs_command(), "image", "info", stranger, check=False)
    assert done.returncode == 1
    assert "does not match" in done.stderr
    child = make(parent.with_name(f"child.{kind}"), parent, content)
    parent.rename(parent.with_name("gone"))
    with pytest.raises(ImageError, match="parent"):
        content_of(child)


def test_a_parent_elsewhere_is_not_opened(family):
    kind, parent, content, make = family
    (parent.parent / "inner").mkdir()
    child = make(parent.parent / "inner" / f"child.{kind}", parent, content, f"..\\parent.{kind}")
    with pytest.raises(ImageError, match="parent"):
        content_of(child)
