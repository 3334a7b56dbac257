"""EROFS in every way that mkfs.erofs lays files out: all bytes as they were, at any offset."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from images import erofs_making
from support.compare import Keeps, assert_same, found_in
from support.images import OpenImage, tool, write_at
from support.machine import needs_root
from support.odd_tree import manifest
from twinfs.errors import ImageError
from twinfs.images.erofs import lz4
from twinfs.images.erofs.compressed import CompressedFile
from twinfs.images.erofs.decompress import Algorithm
from twinfs.images.paths import resolve
from twinfs.images.tree import ImageTree
from twinfs.images.worker.client import ReaderClient
from twinfs.images.worker.remote import RemoteTree

pytestmark = needs_root  # for security.* attributes

NEWER = {
    "LZMA": ("-zlzma", "-C65536"),
    "DEFLATE": ("-zdeflate",),
    "Zstandard": ("-zzstd", "-Eztailpacking"),
    "two in one": ("-zlz4:deflate",),
}
"""Beyond what Debian 12's mkfs.erofs offers."""
WAYS = {
    "plain": (),
    "nothing inline": ("-Enoinline_data",),
    "LZ4": ("-zlz4",),
    "LZ4 HC": ("-zlz4hc,9",),
    "LZ4, large clusters": ("-zlz4hc", "-C65536"),
    "LZ4, large clusters, full indexes": ("-zlz4hc", "-C65536", "-Elegacy-compress"),
    "LZ4, full indexes, not padded": ("-zlz4", "-Elegacy-compress"),
    "LZ4, short extents": ("-zlz4", "--max-extent-bytes=8192"),
    "LZ4, tails inline": ("-zlz4", "-Eztailpacking"),
    "LZ4, large clusters, tails inline": ("-zlz4hc", "-C65536", "-Eztailpacking"),
    "chunks": ("--chunksize=4096",),
    "chunks with indexes": ("--chunksize=65536", "-Eforce-chunk-indexes"),
    "short inodes": ("-Eforce-inode-compact", "-T1600000000"),
    "attributes not shared": ("-x0",),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Text that compresses a little, random bytes, repetition, and all of that in one file; of many sizes."""
    chance = random.Random(11)
    top = tmp_path_factory.mktemp("tree") / "tree"
    (top / "sizes").mkdir(parents=True)

    def text(size: int) -> bytes:
        words = [b"%x" % chance.randrange(4096) for _ in range(size // 3)]
        return b" ".join(words)[:size]

    for size in (0, 1, 100, 4000, 4095, 4096, 4097, 8192, 12_345, 65_536, 100_001, 1_000_000):
        (top / "sizes" / f"text {size}").write_bytes(text(size))
        (top / "sizes" / f"noise {size}").write_bytes(chance.randbytes(size))
        (top / "sizes" / f"same {size}").write_bytes(b"=" * size)
    mixed = b"".join(
        chance.choice((text, chance.randbytes, bytes))(chance.randrange(1, 60_000)) for _ in range(80)
    )
    (top / "mixed").write_bytes(mixed)
    (top / "link").symlink_to("target/" + "x" * 300)
    return top


@pytest.mark.parametrize("way", [*WAYS, *NEWER])
def test_every_byte_is_as_it_was(tmp_path, tree, way):
    image = tmp_path / "image"
    if way in NEWER:
        done = subprocess.run(["mkfs.erofs", *NEWER[way], image, tree], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this mkfs.erofs does not know it")
    else:
        tool("mkfs.erofs", *WAYS[way], image, tree)
    keeps = Keeps(times_ns=0 if way == "short inodes" else 1)
    plain = (tree / "mixed").read_bytes()
    with OpenImage(image) as opened:
        ours = ImageTree(opened)
        top = ours.lookup(ours.root_inode, b"p0")
        assert_same(found_in(ours, top, keeps), manifest(tree), keeps)
        mixed = ours.lookup(top, b"mixed")
        chance = random.Random(1)
        for _ in range(100):
            at, length = chance.randrange(len(plain)), chance.randrange(1, 100_000)
            assert ours.read(mixed, at, length) == plain[at : at + length]
        assert ours.read(mixed, len(plain) - 3, 100) == plain[-3:]


def test_plain_blocks_of_a_compressed_file_may_be_rotated(tmp_path, tree):
    """As newer mkfs.erofs write them: a byte lies where it would lie in a block of the file."""
    image = tmp_path / "image"
    tool("mkfs.erofs", "-zlz4", image, tree)
    with OpenImage(image) as opened:
        system = opened.file_system(opened.volumes[0])
        found = system._inode(system.lookup(system.root_inode, b"mixed"))
        file, at, blocks = CompressedFile(system._disk, found), 0, []
        while at < found.stat.size_bytes:
            blocks.append(extent := file.extent_at(at))
            at = extent.end
    shifted = [(each.place_bytes, each.start % 4096) for each in blocks if each.algorithm is None]
    assert any(shift for _, shift in shifted)
    raw = image.read_bytes()
    for place, shift in shifted:
        write_at(image, place + shift, raw[place : place + 4096 - shift])
        write_at(image, place, raw[place + 4096 - shift : place + 4096])
    header = -(-found.end_bytes // 8) * 8
    write_at(image, header + 4, bytes([raw[header + 4] | 0x10]))
    with OpenImage(image) as opened:
        ours = ImageTree(opened)
        number = ours.lookup(ours.lookup(ours.root_inode, b"p0"), b"mixed")
        assert ours.read(number, 0, 10_000_000) == (tree / "mixed").read_bytes()


@pytest.fixture(scope="module")
def compressible(tmp_path_factory, tree) -> Path:
    """Without noise: what makes LZ4's blocks full may be more than another compression can put into them."""
    top = tmp_path_factory.mktemp("compressible") / "tree"
    top.mkdir()
    for path in (tree / "sizes").glob("[ts]*"):
        shutil.copy2(path, top)
    (top / "all").write_bytes(b"".join(path.read_bytes() for path in sorted(top.iterdir())))
    return top


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        *((algorithm, options) for algorithm in erofs_making.ENCODERS for options in ((), ("-C65536",))),
        # LZ4's tails are so short that the others' heads do not fit.
        (Algorithm.DEFLATE, ("-Eztailpacking",)),
    ],
    ids=str,
)
def test_other_compressions_are_read(tmp_path, compressible, algorithm, options):
    image = tmp_path / "image"
    assert erofs_making.make(compressible, image, algorithm, *options) > 20
    keeps = Keeps(times_ns=1)
    with OpenImage(image) as opened:
        ours = ImageTree(opened)
        top = ours.lookup(ours.root_inode, b"p0")
        assert_same(found_in(ours, top, keeps), manifest(compressible), keeps)
    with ReaderClient(str(image)) as reader:
        remote = RemoteTree(reader)
        plain = (compressible / "all").read_bytes()
        assert remote.read(resolve(remote, b"/p0/all"), 0, len(plain)) == plain


@pytest.mark.parametrize("algorithm", erofs_making.ENCODERS)
def test_what_was_damaged_is_an_error(tmp_path, compressible, algorithm):
    image = tmp_path / "image"
    erofs_making.make(compressible, image, algorithm)
    with OpenImage(image) as opened:
        system = opened.file_system(opened.volumes[0])
        found = system._inode(system.lookup(system.root_inode, b"all"))
        extent = CompressedFile(system._disk, found).extent_at(0)
    for data in (b"\xff" * extent.stored_bytes, bytes(extent.stored_bytes)):
        write_at(image, extent.place_bytes, data)
        with OpenImage(image) as opened:
            ours = ImageTree(opened)
            number = ours.lookup(ours.lookup(ours.root_inode, b"p0"), b"all")
            with pytest.raises(ImageError, match="its data at byte 0 are damaged"):
                ours.read(number, 0, 100)


def test_an_unknown_compression_is_named(tmp_path, tree):
    image = tmp_path / "image"
    tool("mkfs.erofs", "-zlz4", image, tree)
    with OpenImage(image) as opened:
        system = opened.file_system(opened.volumes[0])
        found = system._inode(system.lookup(system.root_inode, b"mixed"))
        header = -(-found.end_bytes // 8) * 8
    write_at(image, header + 6, bytes([9]))
    with OpenImage(image) as opened:
        ours = ImageTree(opened)
        top = ours.lookup(ours.root_inode, b"p0")
        with pytest.raises(ImageError, match=r"compressed in an unknown way \(9 is not a valid Algorithm"):
            ours.read(ours.lookup(top, b"mixed"), 0, 100)
        small = ours.lookup(ours.lookup(top, b"sizes"), b"text 12345")
        assert ours.read(small, 0, 20_000) == (tree / "sizes" / "text 12345").read_bytes()


def test_the_reader_decompresses_within_its_limits(tmp_path, tree):
    image = tmp_path / "image"
    tool("mkfs.erofs", "-zlz4", image, tree)
    with ReaderClient(str(image)) as reader:
        ours = RemoteTree(reader)
        plain = (tree / "mixed").read_bytes()
        assert ours.read(resolve(ours, b"/p0/mixed"), 0, len(plain)) == plain


def test_features_that_are_not_known_are_an_error(tmp_path, tree):
    image = tmp_path / "image"
    tool("mkfs.erofs", image, tree)
    write_at(image, 1024 + 80, b"\0\0\0\x40")
    with OpenImage(image) as opened, pytest.raises(ImageError, match="features that are not known here"):
        opened.file_system(opened.volumes[0])


@pytest.mark.parametrize(
    ("raw", "size", "made"),
    [
        (b"\x50hello", 5, b"hello"),
        (b"\x50hello", 3, b"hel"),
        (b"\x12a\x01\x00" + b"\x10b" + b"garbage", 8, b"aaaaaaab"),
        (b"\x1fa\x01\x00\x05" + b"\xff", 20, b"a" * 20),
        (b"\xf0\x00" + b"fifteen letters" + b"more", 15, b"fifteen letters"),
    ],
)
def test_the_beginning_of_an_lz4_block(raw, size, made):
    assert lz4.beginning(raw, size) == made


@pytest.mark.parametrize(
    "raw", [b"", b"\x50hel", b"\x12a\x02\x00", b"\x12a\x00\x00", b"\xf0\xff\xff", b"\x12a"]
)
def test_damaged_lz4_is_an_error(raw):
    with pytest.raises(ImageError, match="LZ4"):
        lz4.beginning(raw, 1000)
