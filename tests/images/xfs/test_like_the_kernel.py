"""Trees made by the kernel on file systems of many kinds: the reader says what the kernel says."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from images.xfs import odd_tree, seeing
from images.xfs.making import make, mounted
from images.xfs.sources import FileSource
from support.machine import needs_root, run, tool
from twinfs.images.xfs import open_file_system

pytestmark = needs_root


@dataclass(frozen=True)
class Kind:
    """Options of mkfs.xfs, how large the large directory is, and whether files can share extents."""

    options: tuple[str, ...]
    many: int = 1500
    has_reflinks: bool = True


KINDS = {
    "default": Kind(("-L", "an odd tree!"), many=20_000),
    "old": Kind(("-m", "bigtime=0,reflink=0,finobt=0", "-i", "sparse=0,nrext64=0"), has_reflinks=False),
    "blocks of 1 KiB": Kind(("-b", "size=1024", "-m", "rmapbt=1", "-i", "nrext64=1"), many=6000),
    "large directory blocks": Kind(("-b", "size=1024", "-n", "size=65536")),
    "sectors of 4 KiB": Kind(
        ("-s", "size=4096", "-n", "size=16384", "-i", "size=2048,nrext64=1", "-d", "agcount=7")
    ),
    "blocks of 64 KiB": Kind(("-b", "size=65536", "-m", "bigtime=1"), many=3000),
}


@pytest.fixture(scope="module", params=list(KINDS))
def made(request, tmp_path_factory):
    """An image, its kind, and its tree and statvfs as the kernel gave them."""
    kind = KINDS[request.param]
    image = make(tmp_path_factory.mktemp("xfs") / "image", kind.options)
    with mounted(image) as root:
        odd_tree.fill(root, many=kind.many)
        if kind.has_reflinks:
            odd_tree.reflink(root / "contents")
    with mounted(image, "ro,noatime") as root:
        tree, space = seeing.by_kernel(root), os.statvfs(root)
    yield image, kind, tree, space
    image.unlink()


@pytest.fixture
def files(made):
    with FileSource(made[0]) as source:
        yield open_file_system(source)


def test_every_name_and_content_is_the_kernel_s(made, files):
    _, kind, expected, _ = made
    assert len(expected) > kind.many
    seen = seeing.by_reader(files)
    assert seen.keys() == expected.keys()
    assert [path for path, entry in expected.items() if seen[path] != entry] == []


def test_it_calls_itself_as_blkid_does(made, files):
    image = made[0]
    output = run(tool("blkid", "util-linux"), "-o", "export", "-p", image).stdout
    said = dict(line.split("=", 1) for line in output.splitlines())
    assert files.kind == said["TYPE"]
    assert files.label == said.get("LABEL", "").replace("\\", "")
    assert files.uuid == said["UUID"]
    assert files.warnings == ()


def test_total_space_is_the_kernel_s_and_free_space_includes_what_the_kernel_keeps_back(made, files):
    image, _, _, space = made
    total, free = files.capacity()
    assert total == space.f_blocks * space.f_frsize
    words = run(tool("xfs_db", "xfsprogs"), "-r", "-c", "sb 0", "-c", "p fdblocks blocksize", image).stdout
    on_disk = dict(line.split(" = ") for line in words.splitlines())
    assert free == int(on_disk["fdblocks"]) * int(on_disk["blocksize"])
    assert 0 <= free - space.f_bfree * space.f_frsize < total // 8


def test_a_name_that_is_not_there_is_not_found(made, files):
    for directory in (b"many", b"names", b"times"):
        inode = files.lookup(files.root_inode, directory)
        for name in (b"missing", b"", b".", b"..", b"name of some length 7", b"a/b", b"\0", b"x" * 256):
            assert files.lookup(inode, name) is None


def test_random_parts_of_files_are_those_of_the_whole(made, files):
    contents = files.lookup(files.root_inode, b"contents")
    fragmented = files.lookup(contents, b"fragmented")
    size = files.stat(fragmented).size_bytes
    whole = files.read(fragmented, 0, size)
    assert len(whole) == size
    for offset in range(0, size, 999_983):
        for length in (1, 4095, 70_001):
            assert files.read(fragmented, offset, length) == whole[offset : offset + length]
    assert files.read(fragmented, size, 10) == b""
    assert files.read(fragmented, size - 3, 10) == whole[-3:]
