"""APFS: what we read of an image is what another reader, libfsapfs, reads of it."""

from __future__ import annotations

import hashlib
import stat
import struct
from pathlib import Path

import pytest

from images.test_file_systems import apfs
from support.images import OpenImage, tool
from support.machine import needs_root
from support.odd_tree import Wants, build
from support.volume import twinfs_command
from twinfs.images.paths import resolve
from twinfs.images.protocol import FileSystem
from twinfs.images.tree import ImageTree
from twinfs.images.worker.client import ReaderClient
from twinfs.images.worker.remote import RemoteTree

pytestmark = needs_root  # for owners and nodes in the image
WANTS = Wants(
    entries=300, depth=20, has_raw_names=False, has_large_sparse=False, times=(1_600_000_000 * 10**9 + 7,) * 3
)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("apfs")
    build(directory / "tree", WANTS)
    apfs(directory / "tree", directory / "image")
    return directory / "image"


def seen_by_another(image: Path) -> dict[str, tuple[str, int, int, int]]:
    """MD5, owner, group and size of every regular file, by its path."""
    body = image.with_name("body")
    tool("fsapfsinfo", "-H", "-d", "-B", body, image)
    found = {}
    for line in body.read_text().splitlines():
        digest, path, _, mode, uid, gid, size, *_ = line.split("|")
        if mode.startswith("-"):
            found[path.split("/", 2)[2]] = (digest, int(uid), int(gid), int(size))
    return found


def seen_by_us(tree: FileSystem, inode: int, path: str = "") -> dict[str, tuple[str, int, int, int]]:
    found = {}
    for entry in tree.list(inode):
        here, status = path + entry.name.decode(), tree.stat(entry.inode)
        if stat.S_ISDIR(status.mode):
            found |= seen_by_us(tree, entry.inode, here + "/")
        elif stat.S_ISREG(status.mode):
            digest = hashlib.md5(tree.read(entry.inode, 0, status.size_bytes)).hexdigest()
            found[here] = (digest, status.uid, status.gid, status.size_bytes)
    return found


def test_another_reader_finds_the_same_in_every_file(image):
    with OpenImage(image) as opened:
        tree = ImageTree(opened)
        ours = seen_by_us(tree, tree.lookup(tree.root_inode, b"p0"))
    assert len(ours) > WANTS.entries
    assert ours == seen_by_another(image)


def test_the_reader_reads_it_within_its_limits(image):
    with ReaderClient(str(image)) as reader:
        tree = RemoteTree(reader)
        assert tree.read(resolve(tree, b"/p0/dir/second_name"), 0, 100) == b"small content\n"


def test_attributes_are_there_under_user(image):
    with OpenImage(image) as opened:
        tree = ImageTree(opened)
        top = tree.lookup(tree.root_inode, b"p0")
        found = tree.xattrs(tree.lookup(top, b"small"))
    assert found == {b"user.user.colour": b"green\0binary", b"user.user.long": b"v" * 2000}


def fletcher64(block: bytes) -> bytes:
    """The checksum of an APFS object, of all that follows it; see "Apple File System Reference"."""
    low = high = 0
    for (word,) in struct.iter_unpack("<I", block[8:]):
        low = (low + word) % 0xFFFFFFFF
        high = (high + low) % 0xFFFFFFFF
    first = 0xFFFFFFFF - (low + high) % 0xFFFFFFFF
    return struct.pack("<II", first, 0xFFFFFFFF - (low + first) % 0xFFFFFFFF)


def test_of_several_volumes_the_first_is_shown_and_that_is_said(image, tmp_path):
    """A second volume's number in every copy of the container's superblock; what it leads to is not there."""
    several = tmp_path / "several"
    whole = bytearray(image.read_bytes())
    size = struct.unpack_from("<I", whole, 36)[0]
    for at in range(0, len(whole), size):
        if whole[at + 32 : at + 36] == b"NXSB":
            assert fletcher64(whole[at : at + size]) == whole[at : at + 8]
            struct.pack_into("<Q", whole, at + 184 + 8, 0x7777)
            whole[at : at + 8] = fletcher64(whole[at : at + size])
    several.write_bytes(whole)
    told = tool(*twinfs_command(), "image", "info", several)
    assert "p0: 2 volumes; only the first is shown" in told
    assert "only the first" not in tool(*twinfs_command(), "image", "info", image)
    with OpenImage(several) as opened:
        tree = ImageTree(opened)
        assert tree.read(resolve(tree, b"/p0/dir/second_name"), 0, 100) == b"small content\n"
