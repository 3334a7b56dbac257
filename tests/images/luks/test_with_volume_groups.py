"""Volume groups within encrypted volumes, as installers make them, and encrypted volumes within groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.luks.making import PASSPHRASE, Maker
from images.lvm import making
from support.images import MIB, blank, tool, write_at
from support.machine import needs_root
from twinfs.images.paths import resolve
from twinfs.images.worker.client import ReaderClient
from twinfs.images.worker.remote import RemoteTree

pytestmark = needs_root  # for loop devices


def file_system(path: Path, content: bytes) -> Path:
    tree = path.with_name(path.name + ".tree")
    tree.mkdir()
    (tree / "file").write_bytes(content)
    tool("mkfs.ext4", "-q", "-F", "-d", tree, blank(path, 8 * MIB))
    return path


@pytest.fixture
def disk(tmp_path) -> Path:
    """A LUKS volume with a group in it: `root` has a file system, `vault` another LUKS volume."""
    root = file_system(tmp_path / "root", b"within the group")
    (tmp_path / "inner").mkdir()
    vault = Maker(tmp_path / "inner", file_system(tmp_path / "secret", b"within the vault")).version_2(
        "vault"
    )
    with making.disks(tmp_path, 1, 32 * MIB) as made:
        made.lvm("pvcreate", "-ff", "-y", *made.devices)
        made.lvm("vgcreate", "--physicalextentsize", "128k", "group", *made.devices)
        for name, volume in (("root", root), ("vault", vault)):
            extents = -(-volume.stat().st_size // making.EXTENT_BYTES)
            made.create("-l", str(extents), "-n", name, "group")
        places = {each["lv_name"]: each["seg_pe_ranges"] for each in made.segments()}
        start = made.first_extent_bytes()
    for name, volume in (("root", root), ("vault", vault)):
        first = int(places[name].partition(":")[2].partition("-")[0])
        write_at(tmp_path / "pv0", start + first * making.EXTENT_BYTES, volume.read_bytes())
    return Maker(tmp_path, tmp_path / "pv0").version_2("disk")


def test_one_passphrase_opens_what_is_within_what_it_opened(disk):
    with ReaderClient(str(disk), passphrase=PASSPHRASE) as reader:
        tree = RemoteTree(reader)
        names = {entry.name for entry in tree.list(tree.root_inode)}
        assert {b"group-root", b"group-vault"} <= names
        for path, content in (
            (b"/group-root/file", b"within the group"),
            (b"/group-vault/file", b"within the vault"),
        ):
            assert tree.read(resolve(tree, path), 0, 100) == content
        assert tree.info().partitions[0].filesystem == "LVM2_member"
