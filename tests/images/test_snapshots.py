"""Internal snapshots of qcow2, by name: the disk as it was when each was made."""

from __future__ import annotations

import json
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from support.images import MIB, OpenImage, blank, tool, write_at
from support.volume import twinfs_command
from twinfs.errors import ImageError
from twinfs.images.containers.snapshots import snapshots_of
from twinfs.images.paths import resolve
from twinfs.images.sources import FileSource
from twinfs.images.tree import ImageTree


def file_system(path: Path, content: bytes, size: int) -> Path:
    tree = path.with_name(path.name + ".tree")
    tree.mkdir()
    (tree / "file").write_bytes(content)
    tool("mkfs.ext4", "-q", "-F", "-d", tree, blank(path, size))
    return path


def image_with_snapshots(directory: Path, *options: str) -> Path:
    """`first` and `second`, and what the disk is now; each another file system, the second larger."""
    image = directory / "disk.qcow2"
    states = ((b"first", 8 * MIB), (b"second", 16 * MIB), (b"now", 16 * MIB))
    tool("qemu-img", "create", "-q", "-f", "qcow2", *options, image, str(8 * MIB))
    for content, size in states:
        raw = file_system(directory / content.decode(), content * 5000, size)
        tool("qemu-img", "resize", "-q", image, str(size))
        tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", raw, image)
        if content != b"now":
            tool("qemu-img", "snapshot", "-c", content.decode(), image)
    return image


def read(tree: ImageTree, path: bytes) -> bytes:
    inode = resolve(tree, path)
    return tree.read(inode, 0, tree.stat(inode).size_bytes)


@pytest.mark.parametrize("options", [(), ("-o", "extended_l2=on,cluster_size=128k")])
def test_each_snapshot_is_a_directory_with_the_disk_as_it_was(tmp_path, options):
    with OpenImage(image_with_snapshots(tmp_path, *options)) as image:
        tree = ImageTree(image)
        assert {entry.name for entry in tree.list(tree.root_inode)} == {
            *(b"disk.img", b"p0", b"@first", b"@second")
        }
        assert read(tree, b"/p0/file") == b"now" * 5000
        assert read(tree, b"/@first/p0/file") == b"first" * 5000
        assert read(tree, b"/@second/p0/file") == b"second" * 5000
        assert read(tree, b"/@second/disk.img") == (tmp_path / "second").read_bytes()
        # One that is larger than when it was made gets the size that it had.
        assert tree.stat(resolve(tree, b"/@first/disk.img")).size_bytes == 8 * MIB
        assert stat.S_ISDIR(tree.stat(resolve(tree, b"/@first")).mode)


def test_the_commands_go_into_snapshots(tmp_path):
    image = image_with_snapshots(tmp_path)

    def command(*words: str | Path) -> bytes:
        return subprocess.run([*twinfs_command(), "image", *words], capture_output=True, check=True).stdout

    assert command("cat", image, "/@first/p0/file") == b"first" * 5000
    listed = [json.loads(line) for line in command("ls", image, "/@second", "--json").splitlines()]
    assert {each["path"] for each in listed} == {"/@second/disk.img", "/@second/p0"}


def test_snapshots_of_one_name_are_all_there(tmp_path):
    image = image_with_snapshots(tmp_path)
    tool("qemu-img", "snapshot", "-c", "first", image)
    with OpenImage(image) as opened:
        tree = ImageTree(opened)
        names = [entry.name for entry in tree.list(tree.root_inode) if entry.name.startswith(b"@first")]
        assert names == [b"@first", b"@first-3"]
        assert read(tree, b"/@first-3/p0/file") == b"now" * 5000


def table_of(image: Path) -> int:
    return struct.unpack(">Q", image.read_bytes()[64:72])[0]


def test_a_snapshot_that_leads_nowhere_is_an_error_and_the_rest_is_read(tmp_path):
    image = image_with_snapshots(tmp_path)
    write_at(image, table_of(image), (1 << 60).to_bytes(8, "big"))
    with OpenImage(image) as opened:
        tree = ImageTree(opened)
        with pytest.raises(ImageError):
            read(tree, b"/@first/p0/file")
        assert read(tree, b"/p0/file") == b"now" * 5000
        assert read(tree, b"/@second/p0/file") == b"second" * 5000


@pytest.mark.parametrize("count", [1 << 31, 0xFFFFFFFF])
def test_a_table_of_any_length_ends_where_it_makes_no_sense(tmp_path, count):
    image = image_with_snapshots(tmp_path)
    write_at(image, 60, count.to_bytes(4, "big"))
    source = FileSource(str(image))
    try:
        found = snapshots_of(source)
    finally:
        source.close()
    assert [each.name for each in found][:2] == [b"first", b"second"]
    assert len(found) <= 1000


def test_a_name_cannot_lead_elsewhere(tmp_path):
    image = image_with_snapshots(tmp_path)
    raw = image.read_bytes()
    write_at(image, raw.index(b"first", table_of(image)), b"../..")
    with OpenImage(image) as opened:
        tree = ImageTree(opened)
        assert b"@..%2F.." in {entry.name for entry in tree.list(tree.root_inode)}
        assert read(tree, b"/@..%2F../p0/file") == b"first" * 5000


def test_a_table_behind_the_end_is_none(tmp_path):
    image = image_with_snapshots(tmp_path)
    write_at(image, 64, (image.stat().st_size - 10).to_bytes(8, "big"))
    with OpenImage(image) as opened:
        assert opened.disk.snapshots == ()
        assert read(ImageTree(opened), b"/p0/file") == b"now" * 5000


def test_image_info_lists_them_as_qemu_img_does(tmp_path):
    image = image_with_snapshots(tmp_path)
    told = json.loads(tool("qemu-img", "info", "--output=json", image))["snapshots"]
    words = [*twinfs_command(), "image", "info", image]
    found = json.loads(tool(*words, "--json"))["snapshots"]
    assert [(each["name"], each["id"], each["created_seconds"], each["state_bytes"]) for each in found] == [
        (each["name"], each["id"], each["date-sec"], each["vm-state-size"]) for each in told
    ]
    assert [(each["path"], each["size_bytes"]) for each in found] == [
        ("/@first", 8 * MIB),
        ("/@second", 16 * MIB),
    ]
    text = tool(*words)
    assert "/@first    8.0 MiB" in text
