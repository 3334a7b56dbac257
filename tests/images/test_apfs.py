"""APFS: what we read of an image is what another reader, libfsapfs, reads of it."""

from __future__ import annotations

import hashlib
import json
import stat
import struct
from pathlib import Path

import pytest

from images.apfs_making import fletcher64, two_volumes
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


def seen_by_another(image: Path, *words: str) -> dict[str, tuple[str, int, int, int]]:
    """MD5, owner, group and size of every regular file, by its path."""
    body = image.with_name("body")
    tool("fsapfsinfo", "-H", "-d", *words, "-B", body, image)
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


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    """The second volume's name is one that no directory can have."""
    directory = tmp_path_factory.mktemp("several")
    (directory / "first").mkdir()
    (directory / "first" / "file").write_bytes(b"of the first")
    build(directory / "second", WANTS)
    two_volumes(directory / "first", directory / "second", directory / "image", ("First", "Data / more"))
    return directory / "image"


def test_every_volume_of_a_container_is_a_directory(several):
    """Whose files are as the other reader finds them, that is asked for the second volume alone."""
    with OpenImage(several) as opened:
        tree = ImageTree(opened)
        assert [entry.name for entry in tree.list(tree.root_inode)] == [
            b"disk.img",
            b"p0",
            b"p0-Data %2F more",
        ]
        assert tree.read(resolve(tree, b"/p0/file"), 0, 100) == b"of the first"
        ours = seen_by_us(tree, resolve(tree, b"/p0-Data %2F more"))
    assert len(ours) > WANTS.entries
    assert ours == {
        path: seen for path, seen in seen_by_another(several, "-f", "2").items() if path != "file"
    }


def test_info_tells_of_every_volume(several, image):
    told = json.loads(tool(*twinfs_command(), "image", "info", "--json", several))
    [other] = told["logical_volumes"]
    assert (other["name"], other["label"]) == ("p0-Data %2F more", "Data / more")
    assert (other["filesystem"], other["problem"]) == ("apfs", "")
    assert other["uuid"] in tool("fsapfsinfo", "-f", "2", several)
    assert "p0-Data %2F more" in tool(*twinfs_command(), "image", "info", several)
    assert json.loads(tool(*twinfs_command(), "image", "info", "--json", image))["logical_volumes"] == []


def test_the_reader_reads_the_second_within_its_limits(several):
    with ReaderClient(str(several)) as reader:
        tree = RemoteTree(reader)
        assert tree.read(resolve(tree, b"/p0-Data %2F more/dir/second_name"), 0, 100) == b"small content\n"


def test_a_volume_that_leads_nowhere_is_told_and_the_others_are_read(several, tmp_path):
    """Its number in every copy of the container's superblock is one that nothing has."""
    damaged = tmp_path / "damaged"
    whole = bytearray(several.read_bytes())
    for at in range(0, len(whole), 4096):
        if whole[at + 32 : at + 36] == b"NXSB":
            struct.pack_into("<Q", whole, at + 184 + 8, 0x7777)
            whole[at : at + 8] = fletcher64(whole[at : at + 4096])
    damaged.write_bytes(whole)
    [other] = json.loads(tool(*twinfs_command(), "image", "info", "--json", damaged))["logical_volumes"]
    assert other["name"] == "p0-v2"
    assert "not found" in other["problem"] or "missing" in other["problem"]
    with OpenImage(damaged) as opened:
        tree = ImageTree(opened)
        assert [entry.name for entry in tree.list(tree.root_inode)] == [b"disk.img", b"p0"]
        assert tree.read(resolve(tree, b"/p0/file"), 0, 100) == b"of the first"
