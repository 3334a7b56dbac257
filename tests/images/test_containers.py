"""Containers made by qemu-img and the compressors: every byte of the disk, and its holes."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from support.images import MIB, OpenImage, blank, encrypt_with_qemu, tool, write_at
from twinfs.errors import ImageError
from twinfs.images.containers import open_disk
from twinfs.images.protocol import ByteSource

SIZE = 48 * MIB


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """A file system, random bytes, text that compresses, and holes between."""
    random.seed(7)
    directory = tmp_path_factory.mktemp("raw")
    source = directory / "files"
    source.mkdir()
    (source / "hello").write_bytes(b"hello from inside")
    path = blank(directory / "disk.raw", SIZE)
    tool("mkfs.ext4", "-q", "-F", "-d", source, path, "20M")
    write_at(path, 24 * MIB + 12345, random.randbytes(3 * MIB))
    write_at(path, 40 * MIB, b"squeeze me " * 100_000)
    return path


def digest(source: ByteSource) -> str:
    sha = hashlib.sha256()
    for at in range(0, source.size_bytes, MIB):
        sha.update(source.read_at(at, MIB))
    return sha.hexdigest()


def digest_of_ranges(source: ByteSource) -> str:
    """As `digest`, reading only what is said to hold data."""
    whole = bytearray(source.size_bytes)
    for start, length in source.data_ranges(0, source.size_bytes):
        for at in range(start, start + length, MIB):
            piece = source.read_at(at, min(MIB, start + length - at))
            whole[at : at + len(piece)] = piece
    return hashlib.sha256(whole).hexdigest()


def assert_same_disk(path: Path, raw: Path, container: str) -> None:
    wanted = hashlib.sha256(raw.read_bytes()).hexdigest()
    disk = open_disk(str(path))
    try:
        assert disk.name == container
        assert disk.source.size_bytes == SIZE
        assert digest(disk.source) == wanted
        assert digest_of_ranges(disk.source) == wanted
        generator = random.Random(1)
        plain = raw.read_bytes()
        for _ in range(100):
            at, length = generator.randrange(SIZE), generator.randrange(1, 200_000)
            assert disk.source.read_at(at, length) == plain[at : at + length]
        assert disk.source.read_at(SIZE - 5, 100) == plain[-5:]
        assert disk.source.read_at(SIZE + 5, 100) == b""
    finally:
        disk.close()


CONVERSIONS = {
    "qcow2": ("qcow2", []),
    "qcow2 v2": ("qcow2", ["-o", "compat=0.10"]),
    "qcow2 compressed": ("qcow2", ["-c"]),
    "qcow2 zstd": ("qcow2", ["-c", "-o", "compression_type=zstd"]),
    "qcow2 extended L2": ("qcow2", ["-o", "extended_l2=on,cluster_size=128k"]),
    "qcow2 small clusters": ("qcow2", ["-o", "cluster_size=512"]),
    "vmdk sparse": ("vmdk", []),
    "vmdk stream": ("vmdk", ["-o", "subformat=streamOptimized"]),
    "vmdk flat": ("vmdk", ["-o", "subformat=monolithicFlat"]),
    "vmdk split": ("vmdk", ["-o", "subformat=twoGbMaxExtentSparse"]),
    "vdi": ("vdi", []),
    "vdi static": ("vdi", ["-o", "static=on"]),
    "vhd dynamic": ("vpc", ["-o", "subformat=dynamic,force_size=on"]),
    "vhd fixed": ("vpc", ["-o", "subformat=fixed,force_size=on"]),
    "vhdx dynamic": ("vhdx", ["-o", "subformat=dynamic"]),
    "vhdx fixed": ("vhdx", ["-o", "subformat=fixed"]),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_disk_by_qemu_img_is_the_same_to_the_byte(tmp_path, raw, name):
    kind, options = CONVERSIONS[name]
    path = tmp_path / f"disk.{kind}"
    tool("qemu-img", "convert", "-f", "raw", "-O", kind, *options, raw, path)
    assert_same_disk(path, raw, "vhd" if kind == "vpc" else kind)


COMPRESSORS = {
    "gzip": ["gzip", "-1", "-c"],
    "xz": ["xz", "-0", "-T1", "--block-size=4MiB", "-c"],
    "zstd": ["zstd", "-q", "-c"],
}


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_compressed_disk_is_read_without_unpacking_it_to_disk(tmp_path, raw, name):
    path = tmp_path / "disk.compressed"
    with path.open("wb") as file:
        subprocess.run([*COMPRESSORS[name], raw], stdout=file, check=True)
    assert_same_disk(path, raw, name)


def test_two_gzip_members_after_one_another_are_one_disk(tmp_path, raw):
    path = tmp_path / "disk.gz"
    with path.open("wb") as file:
        for part in (raw.read_bytes()[: SIZE // 2], raw.read_bytes()[SIZE // 2 :]):
            file.write(subprocess.run(["gzip", "-1", "-c"], input=part, stdout=-1, check=True).stdout)
    assert_same_disk(path, raw, "gzip")


def test_a_container_in_a_container_is_opened_to_the_disk(tmp_path, raw):
    inner = tmp_path / "disk.qcow2"
    tool("qemu-img", "convert", "-O", "qcow2", raw, inner)
    tool("xz", "-0", "-T1", inner)
    assert_same_disk(tmp_path / "disk.qcow2.xz", raw, "xz+qcow2")


@pytest.mark.parametrize("first", ["disk.001", "disk.raw.01", "disk.img.0001"])
def test_parts_of_a_split_image_are_one_disk(tmp_path, raw, first):
    stem, digits = first.rpartition(".")[0], len(first.rpartition(".")[2])
    data = raw.read_bytes()
    for number, start in enumerate(range(0, SIZE, 10 * MIB), 1):
        (tmp_path / f"{stem}.{number:0{digits}d}").write_bytes(data[start : start + 10 * MIB])
    assert_same_disk(tmp_path / first, raw, "split")


def test_a_backing_file_beside_the_image_is_used(tmp_path, raw):
    base = tmp_path / "base.raw"
    base.write_bytes(raw.read_bytes())
    for name, below, kind in (("one.qcow2", "base.raw", "raw"), ("two.qcow2", "one.qcow2", "qcow2")):
        tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", tmp_path / below, "-F", kind, tmp_path / name)
    tool("qemu-io", "-c", "write -P 0x5a 1M 64k", tmp_path / "two.qcow2")
    changed = tmp_path / "changed.raw"
    tool("qemu-img", "convert", "-O", "raw", tmp_path / "two.qcow2", changed)
    assert changed.read_bytes() != raw.read_bytes()
    assert_same_disk(tmp_path / "two.qcow2", changed, "qcow2")


@pytest.mark.parametrize("where", ["/etc/passwd", "../secret", "link"])
def test_a_backing_file_elsewhere_is_not_opened(tmp_path, where):
    """An image may name any file of yours, and have its bytes shown as its own."""
    directory = tmp_path / "images"
    directory.mkdir()
    secret = blank(tmp_path / "secret", MIB)
    (directory / "link").symlink_to(secret)
    path = directory / "disk.qcow2"
    tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", where, "-F", "raw", path, "1M")
    with pytest.raises(ImageError) as refused:
        open_disk(str(path))
    assert "not found" in str(refused.value)


def test_a_chain_of_backing_files_that_loops_is_refused(tmp_path):
    for name, below in (("a.qcow2", "b.qcow2"), ("b.qcow2", "a.qcow2")):
        words = ("-q", "-u", "-f", "qcow2", "-b", below, "-F", "qcow2")
        tool("qemu-img", "create", *words, tmp_path / name, "1M")
    with pytest.raises(ImageError):
        open_disk(str(tmp_path / "a.qcow2"))


def test_an_encrypted_qcow2_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "disk.qcow2"
    secret = ("--object", "secret,id=s,data=pass")
    words = (
        "-q",
        *secret,
        "-f",
        "qcow2",
        "-o",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
    )
    encrypt_with_qemu("create", *words, path, "4M")
    with pytest.raises(ImageError, match="ncrypt"):
        open_disk(str(path))


@pytest.mark.parametrize("name", ["qcow2", "vmdk sparse", "vdi", "vhd dynamic", "vhdx dynamic"])
def test_a_container_that_was_cut_off_is_an_error_not_zeros(tmp_path, raw, name):
    kind, options = CONVERSIONS[name]
    path = tmp_path / "disk"
    tool("qemu-img", "convert", "-f", "raw", "-O", kind, *options, raw, path)
    # The last data, but not the container's own tail of a few sectors.
    os.truncate(path, path.stat().st_size - 3 * MIB // 2)
    try:
        disk = open_disk(str(path))
    except ImageError:
        return
    try:
        if disk.name == "raw":
            return  # a VHD without its footer and header copy is no VHD
        with pytest.raises(ImageError):
            digest(disk.source)
    finally:
        disk.close()


def test_the_file_system_in_a_container_is_read(tmp_path, raw):
    path = tmp_path / "disk.qcow2"
    tool("qemu-img", "convert", "-c", "-O", "qcow2", raw, path)
    with OpenImage(path) as image:
        [volume] = image.volumes
        system = image.file_system(volume)
        inode = system.lookup(system.root_inode, b"hello")
        assert system.read(inode, 0, 100) == b"hello from inside"
