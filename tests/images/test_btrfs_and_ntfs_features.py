"""What mkfs cannot put in, and drivers can: subvolumes, snapshots and compression."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from support.disks import Disk
from support.images import MIB, OpenImage, blank, tool
from support.machine import needs_root
from twinfs.images.paths import resolve
from twinfs.images.tree import ImageTree

pytestmark = needs_root  # to mount
TEXT = b"".join(b"line %d of many that are alike\n" % number for number in range(100_000))
NOISE = random.Random(4).randbytes(MIB)
MIXED = TEXT[:300_001] + NOISE[:200_003] + bytes(500_000) + TEXT[:77_777]


def content(image: Path, path: bytes) -> bytes:
    with OpenImage(image) as opened:
        tree = ImageTree(opened)
        inode = resolve(tree, path)
        return tree.read(inode, 0, tree.stat(inode).size_bytes)


@pytest.mark.parametrize("algorithm", ["zlib", "lzo", "zstd"])
def test_compressed_files_of_btrfs_are_read_to_the_byte(tmp_path, algorithm):
    disk = Disk(tmp_path / "mounted", "btrfs", 256 * MIB, options=(f"compress-force={algorithm}",)).put_in()
    try:
        (disk.path / "text").write_bytes(TEXT)
        (disk.path / "mixed").write_bytes(MIXED)
        (disk.path / "small").write_bytes(b"small " * 100)
    finally:
        disk.take_out()
    assert content(disk.image, b"/p0/text") == TEXT
    assert content(disk.image, b"/p0/mixed") == MIXED
    assert content(disk.image, b"/p0/small") == b"small " * 100


def test_subvolumes_and_snapshots_of_btrfs_are_directories(tmp_path):
    disk = Disk(tmp_path / "mounted", "btrfs", 256 * MIB).put_in()
    try:
        tool("btrfs", "subvolume", "create", disk.path / "home")
        (disk.path / "home" / "file").write_bytes(b"before")
        tool("btrfs", "subvolume", "snapshot", "-r", disk.path / "home", disk.path / "snapshot")
        (disk.path / "home" / "file").write_bytes(b"after")
        (disk.path / "home" / "new").write_bytes(b"new")
        tool("btrfs", "subvolume", "create", disk.path / "home" / "nested")
        (disk.path / "home" / "nested" / "deep").write_bytes(b"deep")
    finally:
        disk.take_out()
    assert content(disk.image, b"/p0/home/file") == b"after"
    assert content(disk.image, b"/p0/home/nested/deep") == b"deep"
    assert content(disk.image, b"/p0/snapshot/file") == b"before"
    with OpenImage(disk.image) as opened:
        tree = ImageTree(opened)
        snapshot = resolve(tree, b"/p0/snapshot")
        assert {entry.name for entry in tree.list(snapshot)} == {b"file"}
        # Every subvolume counts its inodes from the same number: together they must differ.
        files = [resolve(tree, b"/p0/home/file"), resolve(tree, b"/p0/snapshot/file")]
        assert len({*files, snapshot, resolve(tree, b"/p0/home")}) == 4


def test_compressed_files_of_ntfs_are_read_to_the_byte(tmp_path):
    image, mountpoint = blank(tmp_path / "image", 64 * MIB), tmp_path / "mounted"
    mountpoint.mkdir()
    tool("mkntfs", "--quiet", "--fast", "--force", image)
    device = tool("losetup", "--find", "--show", image).strip()
    try:
        tool("ntfs-3g", "-o", "compression", device, mountpoint)
        try:
            squeezed = mountpoint / "squeezed"
            squeezed.mkdir()
            # FILE_ATTRIBUTE_COMPRESSED of a directory: what is made in it is compressed.
            os.setxattr(squeezed, "system.ntfs_attrib_be", (0x800).to_bytes(4, "big"))
            (squeezed / "text").write_bytes(TEXT)
            (squeezed / "mixed").write_bytes(MIXED)
            assert (squeezed / "text").stat().st_blocks * 512 < len(TEXT) // 2
        finally:
            tool("umount", mountpoint)
    finally:
        tool("losetup", "--detach", device)
    assert content(image, b"/p0/squeezed/text") == TEXT
    assert content(image, b"/p0/squeezed/mixed") == MIXED
