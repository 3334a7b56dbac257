"""E01 images made by ewfacquire: every byte of the disk; and what is damaged is said, never shown."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from support.images import MIB, blank, tool, write_at
from twinfs.errors import ImageError
from twinfs.images.containers import open_disk
from twinfs.images.containers.ewf import segment_name
from twinfs.images.paths import resolve
from twinfs.images.worker.client import ReaderClient
from twinfs.images.worker.remote import RemoteTree

SIZE = 12 * MIB + 5 * 512
CHUNK = 32768


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Random bytes, text that compresses, zeros; and a last chunk that is no whole one."""
    path = blank(tmp_path_factory.mktemp("raw") / "disk.raw", SIZE)
    write_at(path, MIB, random.Random(3).randbytes(3 * MIB))
    write_at(path, 6 * MIB, b"squeeze me " * 100_000)
    write_at(path, SIZE - 512, b"the end".ljust(512))
    return path


def acquire(raw: Path, directory: Path, *options: str) -> Path:
    tool("ewfacquire", "-q", "-u", *options, "-t", directory / "disk", raw)
    return min(directory.glob("disk.*"))


KINDS = {
    "EnCase 6": ("-f", "encase6", "-c", "fast"),
    "EnCase 6 not compressed": ("-f", "encase6", "-c", "none"),
    "EnCase 6 in segments": ("-f", "encase6", "-c", "fast", "-S", "1 MiB"),
    "EnCase 2": ("-f", "encase2", "-c", "best"),
    "EnCase 5, large chunks": ("-f", "encase5", "-b", "1024", "-c", "fast"),
    "FTK": ("-f", "ftk", "-c", "fast", "-S", "2 MiB"),
    "SMART in segments": ("-f", "smart", "-c", "fast", "-S", "1 MiB"),
    "linen 7": ("-f", "linen7", "-c", "empty-block"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_by_ewfacquire_is_the_same_to_the_byte(tmp_path, raw, kind):
    disk = open_disk(str(acquire(raw, tmp_path, *KINDS[kind])))
    plain = raw.read_bytes()
    try:
        assert (disk.name, disk.source.size_bytes) == ("ewf", SIZE)
        assert b"".join(disk.source.read_at(at, MIB) for at in range(0, SIZE, MIB)) == plain
        generator = random.Random(1)
        for _ in range(50):
            at, length = generator.randrange(SIZE), generator.randrange(1, 200_000)
            assert disk.source.read_at(at, length) == plain[at : at + length]
        assert disk.source.read_at(SIZE - 5, 100) == plain[-5:]
        assert disk.source.read_at(SIZE, 100) == b""
    finally:
        disk.close()


def test_the_reader_opens_the_segments_beside_it(tmp_path, raw):
    path = acquire(raw, tmp_path, "-c", "fast", "-S", "1 MiB")
    with ReaderClient(str(path)) as reader:
        ours = RemoteTree(reader)
        assert ours.info().container == "ewf"
        assert ours.read(resolve(ours, b"/disk.img"), 3 * MIB, 2 * MIB) == raw.read_bytes()[3 * MIB : 5 * MIB]


def sections(path: Path) -> dict[str, int]:
    """Where the last section of each kind begins."""
    raw, found, at = path.read_bytes(), {}, 13
    while True:
        kind, following = struct.unpack_from("<16sQ", raw, at)
        name = kind.rstrip(b"\0").decode()
        found[name] = at
        if name in ("done", "next"):
            return found
        at = following


def invert(path: Path, at: int) -> None:
    write_at(path, at, bytes([path.read_bytes()[at] ^ 0xFF]))


@pytest.mark.parametrize("options", [("-c", "fast"), ("-c", "none")])
def test_a_damaged_chunk_is_an_error_and_the_others_are_read(tmp_path, raw, options):
    path = acquire(raw, tmp_path, *options)
    # In both, random bytes from 1 MiB on are stored as they are.
    at = path.read_bytes().index(raw.read_bytes()[2 * MIB : 2 * MIB + 100])
    invert(path, at)
    disk = open_disk(str(path))
    try:
        with pytest.raises(ImageError, match=r"chunk 64, bytes 2097152 on of the disk, is damaged"):
            disk.source.read_at(2 * MIB, 100)
        for start in (2 * MIB - CHUNK, 2 * MIB + CHUNK):
            assert disk.source.read_at(start, CHUNK) == raw.read_bytes()[start : start + CHUNK]
    finally:
        disk.close()


@pytest.mark.parametrize("where", [76, 76 + 24])
def test_for_a_damaged_table_there_is_its_copy(tmp_path, raw, where):
    path = acquire(raw, tmp_path, "-c", "fast")
    invert(path, sections(path)["table"] + where)
    disk = open_disk(str(path))
    try:
        assert disk.source.read_at(0, SIZE) == raw.read_bytes()
    finally:
        disk.close()


def test_for_a_damaged_size_there_is_its_copy(tmp_path, raw):
    path = acquire(raw, tmp_path, "-c", "fast", "-S", "2 MiB")
    invert(path, sections(path)["volume"] + 76 + 16)
    disk = open_disk(str(path))
    try:
        assert disk.source.size_bytes == SIZE
    finally:
        disk.close()


def test_a_missing_segment_is_named(tmp_path, raw):
    path = acquire(raw, tmp_path, "-c", "fast", "-S", "1 MiB")
    (tmp_path / "disk.E02").unlink()
    with pytest.raises(ImageError, match=r"disk\.E02"):
        open_disk(str(path))


def test_segments_in_each_others_places_are_refused(tmp_path, raw):
    path = acquire(raw, tmp_path, "-c", "fast", "-S", "1 MiB")
    (tmp_path / "disk.E03").replace(tmp_path / "disk.E02")
    with pytest.raises(ImageError, match="segment 2 is not what its name says"):
        open_disk(str(path))


def test_an_image_cut_off_is_an_error(tmp_path, raw):
    path = acquire(raw, tmp_path, "-c", "fast")
    path.write_bytes(path.read_bytes()[: MIB // 2])
    with pytest.raises(ImageError, match="before its last section"):
        open_disk(str(path))


def test_ex01_is_named_as_what_cannot_be_read(tmp_path):
    path = tmp_path / "disk.Ex01"
    path.write_bytes(b"EVF2\r\n\x81\0".ljust(4096, b"\0"))
    with pytest.raises(ImageError, match="Ex01 images cannot be read here"):
        open_disk(str(path))


@pytest.mark.parametrize(
    ("first", "number", "name"),
    [
        ("disk.E01", 2, "disk.E02"),
        ("disk.E01", 99, "disk.E99"),
        ("disk.E01", 100, "disk.EAA"),
        ("disk.E01", 126, "disk.EBA"),
        ("disk.E01", 99 + 676, "disk.EZZ"),
        ("disk.E01", 100 + 676, "disk.FAA"),
        ("disk.e01", 100, "disk.eaa"),
        ("disk.s01", 100 + 676, "disk.taa"),
        ("disk.E01", 99 + 22 * 676, "disk.ZZZ"),
        ("disk.E01", 100 + 22 * 676, None),
        ("disk.img", 2, None),
    ],
)
def test_segments_are_named_as_the_format_has_it(first, number, name):
    assert segment_name(first, number) == name
