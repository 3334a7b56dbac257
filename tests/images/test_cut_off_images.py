"""Images that end before their file systems do: what is gone is an error, never zeros."""

from __future__ import annotations

import random
import re
import stat
from pathlib import Path

import pytest

from images.test_file_systems import FORMATS
from support.images import MIB, OpenImage, blank, sfdisk, tool, write_at
from support.machine import needs_root, run
from support.volume import twinfs_command
from twinfs.errors import ImageError
from twinfs.images.protocol import FileSystem
from twinfs.images.tree import ImageTree

pytestmark = needs_root  # for what mounts to make them
KINDS = (
    *(
        "ext3",
        "ext4",
        "btrfs",
        "xfs_by_the_kernel",
        "squashfs_gzip",
        "erofs",
        "fat16",
        "fat32",
        "exfat",
        "ntfs",
    ),
    *("iso9660_rock_ridge", "udf_bridge", "hfsplus", "apfs"),
)
FILES = 30


@pytest.fixture(scope="module")
def tree(module_workspace: Path) -> Path:
    """Noise, so that nothing is compressed: zeros in it are no bytes of it."""
    chance = random.Random(5)
    top = module_workspace / "tree"
    for number in range(FILES):
        directory = top / f"dir{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"file{number}").write_bytes(chance.randbytes(chance.randrange(1, 400_000)))
    return top


def readable(system: FileSystem, inode: int, path: str = "") -> dict[str, bytes]:
    """Every file that can be read to its end, and what was read of the others."""
    found: dict[str, bytes] = {}
    try:
        entries = list(system.list(inode))
    except ImageError:
        return found
    for entry in entries:
        here = f"{path}/{entry.name.decode()}"
        try:
            status = system.stat(entry.inode)
            if stat.S_ISDIR(status.mode):
                found |= readable(system, entry.inode, here)
            elif stat.S_ISREG(status.mode):
                found[here] = b"".join(
                    system.read(entry.inode, at, 65_536) for at in range(0, status.size_bytes, 65_536)
                )
        except ImageError:
            continue
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_no_byte_is_made_up(tmp_path, tree, kind):
    image = tmp_path / "image"
    FORMATS[kind].make(tree, image)
    expected = {str(path)[len(str(tree)) :]: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    with OpenImage(image) as opened:
        whole = ImageTree(opened)
        seen = readable(whole, whole.lookup(whole.root_inode, b"p0"))
    assert {path: seen[path] for path in expected} == expected
    lost = 0
    size = image.stat().st_size
    for _ in range(14):
        size = size * 2 // 3
        with open(image, "r+b") as file:
            file.truncate(size)
        try:
            with OpenImage(image) as opened:
                cut = ImageTree(opened)
                number = cut.lookup(cut.root_inode, b"p0")
                found = {} if number is None else readable(cut, number)
        except ImageError:
            found = {}
        lost += len(expected) - len(expected.keys() & found.keys())
        for path in expected.keys() & found.keys():
            assert found[path] == expected[path], (path, size)
    assert lost


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("btrfs", "udf_bridge")])
def test_info_says_how_much_is_missing(tmp_path, tree, kind):
    image = tmp_path / "image"
    FORMATS[kind].make(tree, image)
    assert "are missing" not in run(*twinfs_command(), "image", "info", image).stdout
    with open(image, "r+b") as file:
        file.truncate(image.stat().st_size // 2)
    told = run(*twinfs_command(), "image", "info", image).stdout
    assert "warning: p0: the image is cut off: " in told
    assert "bytes are missing" in told


@pytest.mark.parametrize("container", ["qcow2", "vmdk", "vhdx"])
def test_the_beginning_of_a_container_is_read(tmp_path, container):
    """Its clusters lie in order: the file system is whole, and the disk's end is gone."""
    chance, raw, image = random.Random(7), blank(tmp_path / "raw", 16 * MIB), tmp_path / "image"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"whole")
    tool("mkfs.ext4", "-q", "-d", tmp_path / "tree", raw)
    with open(raw, "ab") as file:
        file.write(chance.randbytes(32 * MIB))
    tool("qemu-img", "convert", "-f", "raw", "-O", container, raw, image)
    with open(image, "r+b") as file:
        file.truncate(image.stat().st_size - 12 * MIB)
    told = run(*twinfs_command(), "image", "info", image).stdout
    assert "warning: its end cannot be read" in told
    assert run(*twinfs_command(), "image", "cat", image, "/p0/file").stdout == "whole"
    plain = raw.read_bytes()
    with OpenImage(image) as opened:
        failed = 0
        for at in range(0, len(plain), 65_536):
            try:
                assert opened.disk.source.read_at(at, 65_536) == plain[at : at + 65_536]
            except ImageError:
                failed += 1
        assert failed


def test_a_table_is_read_where_its_backup_is_gone(tmp_path):
    raw, image = blank(tmp_path / "raw", 16 * MIB), tmp_path / "image.qcow2"
    sfdisk(raw, "label: gpt\nstart=2048, size=8MiB\n")
    write_at(raw, 12 * MIB, random.Random(7).randbytes(2 * MIB))
    tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
    with open(image, "r+b") as file:
        file.truncate(image.stat().st_size - MIB)
    told = run(*twinfs_command(), "image", "info", image).stdout
    assert re.search(r"p1 +2048 +16384", told)
    assert "warning: the backup GPT is damaged" in told
