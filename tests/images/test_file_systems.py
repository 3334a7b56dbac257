"""File systems made by the real tools from one odd tree: every byte and attribute compared with it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from support.compare import Keeps, assert_same, found_in
from support.disks import Disk
from support.images import MIB, OpenImage, blank, tool
from support.odd_tree import SECOND, Wants, build, manifest
from twinfs.images.tree import ImageTree

POSIX = Wants()
DOS = Wants(
    entries=300,
    depth=20,
    has_owners=False,
    has_modes=False,
    has_links=False,
    has_symlinks=False,
    has_nodes=False,
    has_xattrs=False,
    has_raw_names=False,
    has_large_sparse=False,
    times=(1_600_000_000 * SECOND, 400_000_000 * SECOND, 2_200_000_000 * SECOND),
)


def ext(kind: str, *options: str) -> Callable[[Path, Path], None]:
    def make(tree: Path, image: Path) -> None:
        tool(f"mkfs.{kind}", "-q", "-F", "-N", "8000", *options, "-d", tree, blank(image, 128 * MIB))

    return make


def btrfs(tree: Path, image: Path) -> None:
    tool("mkfs.btrfs", "-q", "--rootdir", tree, image)


def by_the_kernel(kind: str) -> Callable[[Path, Path], None]:
    """Mounted and copied to: with all that mkfs cannot put in."""

    def make(tree: Path, image: Path) -> None:
        disk = Disk(image.with_name("mounted"), kind, 512 * MIB).put_in()
        try:
            tool("cp", "-a", "--sparse=always", f"{tree}/.", disk.path)
        finally:
            disk.take_out()
        disk.image.rename(image)

    return make


def squashfs(compressor: str) -> Callable[[Path, Path], None]:
    def make(tree: Path, image: Path) -> None:
        words = ("-noappend", "-quiet", "-no-progress", "-processors", "1", "-comp", compressor)
        tool("mksquashfs", tree, image, *words)

    return make


def erofs(*options: str) -> Callable[[Path, Path], None]:
    def make(tree: Path, image: Path) -> None:
        tool("mkfs.erofs", *options, image, tree)

    return make


def rock_ridge(tree: Path, image: Path) -> None:
    words = ("-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-D", "-full-iso9660-filenames")
    tool("xorriso", "-compliance", "deep_paths:long_paths:long_names", *words, "-o", image, tree)


def hfsplus(tree: Path, image: Path) -> None:
    """xorriso puts HFS+ into a partition of an Apple partition map, beside the ISO file system."""
    disc = image.with_name("disc")
    words = ("-as", "mkisofs", "-quiet", "-hfsplus", "-iso-level", "3", "-R", "-D")
    tool("xorriso", "-compliance", "deep_paths:long_paths:long_names", *words, "-o", disc, tree)
    found = tool("partx", "--raw", "--noheadings", "-t", "mac", "-o", "START,SECTORS,NAME", disc)
    (place,) = [line.split()[:2] for line in found.splitlines() if "HFSPLUS" in line]
    start, sectors = map(int, place)
    with disc.open("rb") as file:
        file.seek(start * 512)
        image.write_bytes(file.read(sectors * 512))
    disc.unlink()


def apfs(tree: Path, image: Path) -> None:
    """No mkfs for Linux puts files in. What this writes, test_apfs compares with another reader."""
    words = ("create", "dmg", "--force", "--fs", "apfs", "--layout", "NONE", "--case-sensitive")
    tool(sys.executable, "-m", "fs_explorer", *words, "--volname", "Odd", image, tree)


def mtools(bits: str) -> Callable[[Path, Path], None]:
    def make(tree: Path, image: Path) -> None:
        size = {"12": 8, "16": 64, "32": 300}[bits] * MIB
        cluster = {"12": "8", "16": "4", "32": "8"}[bits]
        tool("mkfs.vfat", "-F", bits, "-s", cluster, blank(image, size))
        names = sorted(os.listdir(tree))
        tool("mcopy", "-s", "-m", "-Q", "-i", image, *(tree / name for name in names), "::")

    return make


EXACTLY = Keeps()


def windows_names(*options: str) -> Callable[[Path, Path], None]:
    """Joliet or UDF without Rock Ridge."""

    def make(tree: Path, image: Path) -> None:
        words = ("-quiet", "-input-charset", "utf-8", "-o", image)
        tool("genisoimage", "-iso-level", "3", *options, *words, tree)

    return make


def by_a_driver(maker: Sequence[str], mounter: Sequence[str], size: int) -> Callable[[Path, Path], None]:
    """Mounted by a FUSE driver, which knows the format from elsewhere than we do."""

    def make(tree: Path, image: Path) -> None:
        tool(*maker, blank(image, size))
        mountpoint = image.with_name("mounted")
        mountpoint.mkdir()
        device = tool("losetup", "--find", "--show", image).strip()
        tool(*mounter, device, mountpoint)
        try:
            tool("cp", "-a", "--no-preserve=ownership,xattr", f"{tree}/.", mountpoint)
            for path in tree.rglob("*"):
                for name in os.listxattr(path, follow_symlinks=False):
                    value = os.getxattr(path, name, follow_symlinks=False)
                    os.setxattr(mountpoint / path.relative_to(tree), name, value)
        finally:
            tool("umount", mountpoint)
            tool("losetup", "--detach", device)

    return make


NTFS = by_a_driver(
    ["mkntfs", "--quiet", "--fast", "--force"],
    ["ntfs-3g", "-o", "streams_interface=xattr,hide_dot_files,compression"],
    96 * MIB,
)
EXFAT = by_a_driver(["mkfs.exfat"], ["mount.exfat-fuse"], 96 * MIB)


@dataclass(frozen=True)
class Format:
    make: Callable[[Path, Path], None]
    kind: str
    wants: Wants = POSIX
    keeps: Keeps = EXACTLY
    extra: tuple[bytes, ...] = ()


LOST = (b"lost+found",)
# What the programs that make them without mounting can put in: whole seconds up to 2038.
PLAIN = replace(POSIX, times=(1_600_000_000 * SECOND, -86_400 * SECOND, 2_000_000_000 * SECOND))
SMALL = replace(PLAIN, long_xattr_bytes=500)
FULL = replace(POSIX, has_acls=True)
WITH_ACLS = Keeps(xattr_prefixes=(*EXACTLY.xattr_prefixes, b"system.posix_acl"))
SECONDS = Keeps(times_ns=SECOND)
FORMATS = {
    "ext2": Format(ext("ext2", "-I", "128"), "ext2", SMALL, SECONDS, LOST),
    "ext3": Format(ext("ext3", "-b", "1024"), "ext3", SMALL, SECONDS, LOST),
    "ext4": Format(ext("ext4"), "ext4", SMALL, SECONDS, LOST),
    "ext4_64bit_bigalloc": Format(
        ext("ext4", "-O", "64bit,bigalloc,metadata_csum", "-C", "16384"), "ext4", SMALL, SECONDS, LOST
    ),
    "ext4_meta_bg": Format(
        ext("ext4", "-O", "meta_bg,^resize_inode", "-b", "1024"),
        "ext4",
        SMALL,
        SECONDS,
        LOST,
    ),
    "ext4_inline_data": Format(
        ext("ext4", "-O", "inline_data", "-I", "1024"),
        "ext4",
        # mke2fs itself cuts off large files and holes at an end.
        replace(SMALL, has_large_sparse=False, has_trailing_holes=False),
        SECONDS,
        LOST,
    ),
    "ext4_by_the_kernel": Format(by_the_kernel("ext4"), "ext4", FULL, WITH_ACLS, LOST),
    "btrfs": Format(btrfs, "btrfs", replace(PLAIN, has_large_sparse=False, has_nodes=False), SECONDS),
    "btrfs_by_the_kernel": Format(by_the_kernel("btrfs"), "btrfs", FULL, WITH_ACLS),
    **{
        f"squashfs_{each}": Format(
            squashfs(each),
            "squashfs",
            replace(
                POSIX,
                # mksquashfs compresses every hole of it.
                has_large_sparse=each == "lz4",
                times=(1_600_000_000 * SECOND, 5 * SECOND, 4_000_000_000 * SECOND),
            ),
            Keeps(times_ns=SECOND),
        )
        for each in ("gzip", "xz", "zstd", "lz4", "lzo", "lzma")
    },
    **{
        # mkfs.erofs 1.5 cuts names of 255 bytes off, and then finds no such file; it writes holes as zeros.
        name: Format(
            erofs(*options), "erofs", replace(FULL, has_large_sparse=False, name_bytes=254), WITH_ACLS
        )
        for name, options in {
            "erofs": (),
            "erofs_lz4": ("-zlz4hc",),
            "erofs_chunks": ("--chunksize=65536",),
        }.items()
    },
    "fat12": Format(mtools("12"), "vfat", replace(DOS, entries=100), Keeps(False, False, False, 2 * SECOND)),
    "fat16": Format(mtools("16"), "vfat", DOS, Keeps(False, False, False, 2 * SECOND)),
    "fat32": Format(mtools("32"), "vfat", DOS, Keeps(False, False, False, 2 * SECOND)),
    "exfat": Format(EXFAT, "exfat", replace(DOS, name_bytes=240), Keeps(False, False, False, 2 * SECOND)),
    "ntfs": Format(
        NTFS,
        "ntfs",
        replace(
            DOS,
            has_links=True,
            has_ntfs_streams=True,
            has_large_sparse=True,
            times=(1_600_000_000 * SECOND + 123_456_700, -86_400 * SECOND, 4_000_000_000 * SECOND + 100),
        ),
        Keeps(modes=False, owners=False, times_ns=100),
    ),
    "iso9660_joliet": Format(
        windows_names("-J", "-joliet-long"),
        "iso9660",
        replace(DOS, depth=4, name_bytes=90, times=(1_600_000_000 * SECOND,) * 3),
        Keeps(False, False, False, SECOND),
    ),
    "udf_bridge": Format(
        windows_names("-udf", "-J", "-joliet-long"),
        "udf",
        replace(DOS, depth=4, name_bytes=90, times=(1_600_000_000 * SECOND,) * 3),
        Keeps(False, False, False, SECOND),
    ),
    "hfsplus": Format(
        hfsplus,
        "hfsplus",
        replace(
            POSIX,
            # xorriso writes hard links as files of their own, and no attributes.
            has_links=False,
            has_xattrs=False,
            has_raw_names=False,
            has_large_sparse=False,
            device=(8, 17),
            times=(1_600_000_000 * SECOND, 100_000_000 * SECOND, 2_000_000_000 * SECOND),
        ),
        SECONDS,
    ),
    "apfs": Format(
        apfs,
        "apfs",
        replace(
            POSIX,
            # Attributes get a prefix: see test_apfs.
            has_xattrs=False,
            has_raw_names=False,
            device=(8, 17),
            times=(1_600_000_000 * SECOND + 123_456_789, 5, 4_000_000_000 * SECOND + 999_999_999),
        ),
    ),
    "xfs_by_the_kernel": Format(by_the_kernel("xfs"), "xfs", FULL, WITH_ACLS),
    "iso9660_rock_ridge": Format(
        rock_ridge,
        "iso9660",
        replace(
            POSIX,
            entries=1000,
            depth=7,
            has_xattrs=False,
            has_large_sparse=False,
            device=(8, 17),
            times=(1_600_000_000 * SECOND, 100_000_000 * SECOND, 2_000_000_000 * SECOND),
        ),
        Keeps(times_ns=SECOND),
    ),
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """One tree for all formats that want the same."""
    made: dict[Wants, Path] = {}
    top = tmp_path_factory.mktemp("trees")

    def tree(wants: Wants) -> Path:
        if wants not in made:
            made[wants] = top / str(len(made))
            build(made[wants], wants)
        return made[wants]

    yield tree
    shutil.rmtree(top)


@pytest.mark.parametrize("name", FORMATS)
def test_everything_put_in_is_found_as_it_was(tmp_path, trees, name):
    chosen = FORMATS[name]
    tree, path = trees(chosen.wants), tmp_path / "image"
    chosen.make(tree, path)
    expected = manifest(tree)
    with OpenImage(path) as image:
        ours = ImageTree(image)
        top = ours.lookup(ours.root_inode, b"p0")
        assert [volume.found.kind for volume in image.volumes] == [chosen.kind]
        found = found_in(ours, top, chosen.keeps)
    assert_same(found, expected, chosen.keeps, extra=chosen.extra)
