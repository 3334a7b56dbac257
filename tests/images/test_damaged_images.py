"""Damaged images of every format: an answer or an ImageError, soon, and within a reader's memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from images.luks.making import Maker
from images.test_file_systems import (
    NTFS,
    apfs,
    btrfs,
    by_a_driver,
    erofs,
    ext,
    hfsplus,
    mtools,
    rock_ridge,
    squashfs,
    windows_names,
)
from support.images import MIB, blank, sfdisk, tool, write_at
from support.odd_tree import SECOND, Wants, build

TESTS = Path(__file__).parents[1]
DAMAGES = 20
MORE_DAMAGES = int(os.environ.get("TWINFS_DAMAGES", "2000"))
SMALL = Wants(
    entries=40,
    depth=5,
    has_large_sparse=False,
    has_nodes=False,
    long_xattr_bytes=300,
    name_bytes=60,
    times=(1_600_000_000 * SECOND,) * 3,
)
PLAIN = Wants(
    entries=40,
    depth=4,
    has_owners=False,
    has_modes=False,
    has_links=False,
    has_symlinks=False,
    has_nodes=False,
    has_xattrs=False,
    has_raw_names=False,
    has_large_sparse=False,
    name_bytes=60,
    times=(1_600_000_000 * SECOND,) * 3,
)


def partitioned(label: str) -> Callable[[Path, Path], None]:
    def make(tree: Path, image: Path) -> None:
        part = image.with_name("part")
        tool("mkfs.ext4", "-q", "-F", "-b", "1024", "-d", tree, blank(part, 14 * MIB))
        sfdisk(blank(image, 24 * MIB), f"label: {label}\nstart=2048, size=14MiB\nsize=2MiB\n")
        write_at(image, 2048 * 512, part.read_bytes())

    return make


def contained(kind: str, *options: str) -> Callable[[Path, Path], None]:
    def make(tree: Path, image: Path) -> None:
        part = image.with_name("part")
        tool("mkfs.ext4", "-q", "-F", "-b", "1024", "-d", tree, blank(part, 14 * MIB))
        tool("qemu-img", "convert", "-O", kind, *options, part, image)

    return make


def with_snapshots(tree: Path, image: Path) -> None:
    contained("qcow2")(tree, image)
    for name in ("first", "second"):
        tool("qemu-img", "snapshot", "-c", name, image)


def acquired(tree: Path, image: Path) -> None:
    raw = image.with_name("raw")
    partitioned("dos")(tree, raw)
    tool("ewfacquire", "-q", "-u", "-c", "fast", "-S", "1 GiB", "-t", image, raw)
    image.with_name("image.E01").rename(image)


def encrypted(version: int) -> Callable[[Path, Path], None]:
    def make(tree: Path, image: Path) -> None:
        part = image.with_name("part")
        tool("mkfs.ext4", "-q", "-F", "-b", "1024", "-d", tree, blank(part, 14 * MIB))
        maker = Maker(image.parent, part)
        made = maker.version_1("made") if version == 1 else maker.argon2("made", "argon2id")
        made.rename(image)

    return make


def compressed(*command: str) -> Callable[[Path, Path], None]:
    def make(tree: Path, image: Path) -> None:
        raw = image.with_name("raw")
        partitioned("dos")(tree, raw)
        with image.open("wb") as file:
            subprocess.run([*command, raw], stdout=file, check=True)

    return make


SMALL_HFSPLUS = replace(SMALL, has_links=False, has_xattrs=False, has_raw_names=False)
SMALL_APFS = replace(SMALL, has_raw_names=False)
FORMATS = {
    "ext2": (ext("ext2", "-I", "128"), SMALL),
    "ext4": (ext("ext4"), SMALL),
    "ext4_inline_data": (ext("ext4", "-O", "inline_data", "-I", "512"), SMALL),
    "btrfs": (btrfs, SMALL),
    "erofs": (erofs(), SMALL),
    "erofs_lz4": (erofs("-zlz4hc", "-C16384"), SMALL),
    "erofs_lz4_full": (erofs("-zlz4", "-Elegacy-compress"), SMALL),
    "erofs_chunks": (erofs("--chunksize=4096", "-Eforce-chunk-indexes"), SMALL),
    "hfsplus": (hfsplus, SMALL_HFSPLUS),
    "apfs": (apfs, SMALL_APFS),
    "squashfs": (squashfs("gzip"), SMALL),
    "squashfs_zstd": (squashfs("zstd"), SMALL),
    "fat12": (mtools("12"), PLAIN),
    "fat32": (mtools("32"), PLAIN),
    "exfat": (by_a_driver(["mkfs.exfat"], ["mount.exfat-fuse"], 16 * MIB), PLAIN),
    "ntfs": (NTFS, PLAIN),
    "iso9660_rock_ridge": (rock_ridge, SMALL),
    "iso9660_joliet": (windows_names("-J", "-joliet-long"), PLAIN),
    "udf": (windows_names("-udf"), PLAIN),
    "mbr": (partitioned("dos"), SMALL),
    "gpt": (partitioned("gpt"), SMALL),
    "qcow2": (contained("qcow2", "-c"), SMALL),
    "qcow2_snapshots": (with_snapshots, SMALL),
    "vmdk": (contained("vmdk", "-o", "subformat=streamOptimized"), SMALL),
    "vdi": (contained("vdi"), SMALL),
    "vhd": (contained("vpc"), SMALL),
    "vhdx": (contained("vhdx"), SMALL),
    "ewf": (acquired, SMALL),
    "luks1": (encrypted(1), SMALL),
    "luks2": (encrypted(2), SMALL),
    "gzip": (compressed("gzip", "-1", "-c"), SMALL),
    "xz": (compressed("xz", "-0", "-T1", "-c"), SMALL),
    "zstd": (compressed("zstd", "-q", "-c"), SMALL),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    top = tmp_path_factory.mktemp("damage")
    trees: dict[Wants, Path] = {}

    def image(name: str) -> Path:
        make, wants = FORMATS[name]
        if wants not in trees:
            trees[wants] = top / f"tree{len(trees)}"
            build(trees[wants], wants)
        directory = top / name
        if not directory.exists():
            directory.mkdir()
            make(trees[wants], directory / "image")
        return directory / "image"

    return image


def findings(path: Path, seed: int, count: int) -> str:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "images.fuzzing", path, str(seed), str(count)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    died = f"exit code {done.returncode}: {done.stderr[-2000:]}" if done.returncode else ""
    return done.stdout + died


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_an_error_or_an_answer(images, name):
    assert not findings(images(name), 0, DAMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_much_damage_is_an_error_or_an_answer(images, name):
    assert not findings(images(name), 1_000_000, MORE_DAMAGES)
