"""Plain UDF, and the links of NTFS that Windows makes."""

from __future__ import annotations

import hashlib
import os
import random
import stat
import struct
from pathlib import Path

from support.images import MIB, OpenImage, blank, tool
from support.machine import needs_root
from twinfs.images.paths import resolve
from twinfs.images.tree import ImageTree


def put_into_udf(image: Path, source: Path) -> None:
    """udfclient, which knows UDF from elsewhere than we do, puts a directory's files into the root."""
    listed = tool("udfclient", image, stdin="ls\nquit\n")
    (top,) = {word for word in listed.split() if word.endswith(":fileset")}
    script = f"cd /{top}\n" + "".join(f"put {name}\n" for name in sorted(os.listdir(source)))
    tool("sh", "-c", f"cd {source} && udfclient -W {image}", stdin=script + "sync\nquit\n")


def test_plain_udf_without_a_bridge_is_read_to_the_byte(tmp_path):
    source, image = tmp_path / "source", tmp_path / "image"
    source.mkdir()
    chance = random.Random(3)
    for name in ("small", "large_file", "empty", "n" * 120):
        (source / name).write_bytes(chance.randbytes({"empty": 0, "large_file": 3 * MIB + 5}.get(name, 3000)))
    blank(image, 24 * MIB)
    tool("newfs_udf", "-L", "Plain", image)
    put_into_udf(image, source)
    assert b"CD001" not in image.read_bytes()[: 64 << 10]
    with OpenImage(image) as opened:
        [volume] = opened.volumes
        assert (volume.found.kind, volume.found.label) == ("udf", "Plain")
        tree = ImageTree(opened)
        top = resolve(tree, b"/p0")
        found = {
            entry.name.decode(): tree.read(entry.inode, 0, tree.stat(entry.inode).size_bytes)
            for entry in tree.list(top)
            if stat.S_ISREG(entry.file_type)
        }
    assert {name: hashlib.sha256(data).digest() for name, data in found.items()} == {
        path.name: hashlib.sha256(path.read_bytes()).digest() for path in source.iterdir()
    }


# NTFS

SYMLINK, JUNCTION, CLOUD = 0xA000000C, 0xA0000003, 0x9000001A


def reparse(tag: int, target: str, shown: str, relative: bool = False) -> bytes:
    """As [MS-FSCC] 2.1.2.4 and 2.1.2.5 have it."""
    first, second = target.encode("utf-16-le"), shown.encode("utf-16-le")
    names = struct.pack("<HHHH", 0, len(first), len(first) + 2, len(second))
    flags = struct.pack("<I", int(relative)) if tag == SYMLINK else b""
    data = names + flags + first + b"\0\0" + second + b"\0\0"
    return struct.pack("<IHH", tag, len(data), 0) + data


@needs_root
def test_links_that_windows_makes_are_symbolic_links(tmp_path):
    image, mountpoint = blank(tmp_path / "image", 32 * MIB), tmp_path / "mounted"
    mountpoint.mkdir()
    tool("mkntfs", "--quiet", "--fast", "--force", image)
    device = tool("losetup", "--find", "--show", image).strip()
    links = {
        "relative": (SYMLINK, "..\\dir\\file", "..\\dir\\file", True),
        "absolute": (SYMLINK, "\\??\\C:\\Users\\anna\\file", "C:\\Users\\anna\\file", False),
        "share": (SYMLINK, "\\??\\UNC\\server\\share", "\\\\server\\share", False),
    }
    try:
        tool("ntfs-3g", device, mountpoint)
        try:
            for name, (tag, target, shown, relative) in links.items():
                (mountpoint / name).touch()
                value = reparse(tag, target, shown, relative)
                os.setxattr(mountpoint / name, "system.ntfs_reparse_data", value)
            (mountpoint / "junction").mkdir()
            value = reparse(JUNCTION, "\\??\\C:\\Documents", "C:\\Documents")
            os.setxattr(mountpoint / "junction", "system.ntfs_reparse_data", value)
            (mountpoint / "cloud").write_bytes(b"what is left of it here")
            value = struct.pack("<IHH", CLOUD, 4, 0) + b"data"
            os.setxattr(mountpoint / "cloud", "system.ntfs_reparse_data", value)
            (mountpoint / "plain").write_bytes(b"plain")
        finally:
            tool("umount", mountpoint)
    finally:
        tool("losetup", "--detach", device)
    with OpenImage(image) as opened:
        tree = ImageTree(opened)
        top = resolve(tree, b"/p0")
        kinds = {entry.name: entry.file_type for entry in tree.list(top)}
        for name in (*links, "junction"):
            assert stat.S_ISLNK(kinds[name.encode()]), name
            assert stat.S_ISLNK(tree.stat(resolve(tree, b"/p0/" + name.encode())).mode)
        assert tree.readlink(resolve(tree, b"/p0/relative")) == b"../dir/file"
        assert tree.readlink(resolve(tree, b"/p0/absolute")) == b"/Users/anna/file"
        assert tree.readlink(resolve(tree, b"/p0/share")) == b"//server/share"
        assert tree.readlink(resolve(tree, b"/p0/junction")) == b"/Documents"
        assert tree.read(resolve(tree, b"/p0/plain"), 0, 10) == b"plain"
        assert tree.read(resolve(tree, b"/p0/cloud"), 0, 100) == b"what is left of it here"
