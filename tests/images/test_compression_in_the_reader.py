"""What is compressed is read within the reader's limits, too: it may start no program and write no file."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.disks import Disk
from support.images import MIB, blank, tool
from support.machine import needs_root
from twinfs.images.paths import resolve
from twinfs.images.worker.client import ReaderClient
from twinfs.images.worker.remote import RemoteTree

TEXT = b"".join(b"line %d of many that are alike\n" % number for number in range(50_000))


def content(image: Path, path: bytes) -> bytes:
    with ReaderClient(str(image)) as reader:
        tree = RemoteTree(reader)
        return tree.read(resolve(tree, path), 0, 1 << 22)


@pytest.fixture
def tree(tmp_path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "text").write_bytes(TEXT)
    return tmp_path / "tree"


@pytest.mark.parametrize("compressor", ["gzip", "xz", "zstd", "lz4", "lzo"])
def test_squashfs(tmp_path, tree, compressor):
    image = tmp_path / "image"
    tool("mksquashfs", tree, image, "-quiet", "-no-progress", "-comp", compressor)
    assert content(image, b"/p0/text") == TEXT


@needs_root  # to mount
@pytest.mark.parametrize("algorithm", ["zlib", "lzo", "zstd"])
def test_btrfs(tmp_path, algorithm):
    disk = Disk(tmp_path / "mounted", "btrfs", 256 * MIB, options=(f"compress-force={algorithm}",)).put_in()
    try:
        (disk.path / "text").write_bytes(TEXT)
    finally:
        disk.take_out()
    assert content(disk.image, b"/p0/text") == TEXT


@pytest.mark.parametrize("algorithm", ["zlib", "zstd"])
def test_qcow2(tmp_path, tree, algorithm):
    raw, image = blank(tmp_path / "raw", 16 * MIB), tmp_path / "image"
    tool("mkfs.ext4", "-q", "-F", "-d", tree, raw)
    tool("qemu-img", "convert", "-c", "-O", "qcow2", "-o", f"compression_type={algorithm}", raw, image)
    assert content(image, b"/p0/text") == TEXT


@pytest.mark.parametrize("command", [("xz", "-0"), ("zstd", "-q"), ("gzip", "-1")])
def test_a_compressed_image(tmp_path, tree, command):
    raw = blank(tmp_path / "raw", 16 * MIB)
    tool("mkfs.ext4", "-q", "-F", "-d", tree, raw)
    tool(*command, raw)
    (image,) = tmp_path.glob("raw.*")
    assert content(image, b"/p0/text") == TEXT
