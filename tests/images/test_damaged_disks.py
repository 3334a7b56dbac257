"""A disk that was partly read, with ddrescue's map: what is missing is an error, and known by name."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
from functools import cache
from pathlib import Path

import pytest

from support.images import MIB, blank, sfdisk, tool, write_at
from support.machine import IS_ROOT, run
from support.volume import twinfs_command
from twinfs.errors import ImageError
from twinfs.images.damaged import Damaged
from twinfs.images.rescue_map import RescueMap, Status, render
from twinfs.images.sources import FileSource

START = 2048 * 512
WHOLE = b"whole" * 20_000
LARGE_BYTES = 4 * MIB


@cache
def large() -> bytes:
    """No part of it is like another, so that it can be found on the disk."""
    return random.Random(4).randbytes(LARGE_BYTES)


class Disk:
    """An ext4 in partition 1, and its map; `bad` are (offset, length) within a file on it."""

    def __init__(self, base: Path, kind: str) -> None:
        self.kind = kind
        tree = base / "tree"
        (tree / "dir").mkdir(parents=True)
        (tree / "whole").write_bytes(WHOLE)
        (tree / "dir" / "large").write_bytes(large())
        part = blank(base / "part", 40 * MIB)
        if kind == "ext4":
            tool("mkfs.ext4", "-q", "-F", "-d", tree, part)
        else:
            tool("mkfs.vfat", "-F", "32", "-s", "1", part)
            tool("mcopy", "-s", "-i", part, tree / "whole", tree / "dir", "::")
        self.path, self.map = base / "disk.img", base / "disk.map"
        blank(self.path, 48 * MIB)
        sfdisk(self.path, "start=2048, size=40MiB\n")
        write_at(self.path, START, part.read_bytes())
        self.rescue_map = RescueMap(48 * MIB, Status.FINISHED)
        self.save()

    def save(self) -> None:
        temporary = self.map.with_suffix(".new")
        temporary.write_text(render(self.rescue_map))
        temporary.rename(self.map)

    def lose(self, offset_in_large: int, length: int, status: Status = Status.BAD) -> int:
        """As a capture leaves it: zeros in the image, and known from the map. Returns where on the disk."""
        place = self.path.read_bytes().find(large()[offset_in_large : offset_in_large + length], START)
        assert place > 0
        write_at(self.path, place, bytes(length))
        self.rescue_map.mark(place, place + length, status)
        self.save()
        return place


@pytest.fixture(params=["ext4", "vfat"])
def disk(tmp_path, request) -> Disk:
    return Disk(tmp_path, request.param)


def image(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = run(*twinfs_command(), "image", *words, check=False)
    assert done.returncode == code, done.stderr
    return done


def affected(disk: Disk, code: int = 0) -> list[dict]:
    done = image("affected", "--map", disk.map, disk.path, "--json", code=code)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_nothing_is_affected_where_all_was_read(disk):
    assert affected(disk) == []
    assert "0 files affected" in image("affected", "--map", disk.map, disk.path).stderr


def test_files_are_named_with_the_bytes_that_are_missing(disk):
    disk.lose(2 * MIB + 512, 1024)
    disk.lose(3 * MIB, 4096, Status.NON_TRIED)
    [found] = affected(disk)
    assert (found["type"], found["path"], found["size_bytes"]) == ("affected", "/p1/dir/large", LARGE_BYTES)
    assert found["unread"] == [
        {"offset_bytes": 2 * MIB + 512, "length_bytes": 1024},
        {"offset_bytes": 3 * MIB, "length_bytes": 4096},
    ]
    text = image("affected", "--map", disk.map, disk.path).stdout
    assert text == "/p1/dir/large: offset 2097664, length 1024, offset 3145728, length 4096\n"


def test_what_lies_in_no_file_affects_none(disk):
    disk.rescue_map.mark(47 * MIB, 48 * MIB, Status.NON_SCRAPED)
    disk.save()
    assert affected(disk) == []


def test_a_file_system_whose_beginning_is_missing_is_said_to_be_unreadable(disk):
    disk.rescue_map.mark(START, START + 8192, Status.BAD)
    disk.save()
    [found] = affected(disk, code=1)
    assert (found["type"], found["path"]) == ("unreadable", "/p1")
    assert "could not be read" in found["message"]
    assert "/p1: cannot be read" in image("affected", "--map", disk.map, disk.path, code=1).stdout


def test_a_directory_that_is_missing_is_said_and_the_others_are_searched(disk):
    place = disk.path.read_bytes().find(b"large", START) if disk.kind == "ext4" else -1
    if place < 0:
        place = disk.path.read_bytes().find(b"LARGE", START)
    disk.rescue_map.mark(place // 512 * 512, place // 512 * 512 + 512, Status.BAD)
    disk.lose(MIB, 512)
    disk.save()
    found = affected(disk, code=1)
    assert [line["path"] for line in found if line["type"] == "unreadable"] == ["/p1/dir"]
    assert "/p1/whole" not in {line["path"] for line in found}


@pytest.fixture
def mounted(disk, tmp_path):
    """The disk, mounted with its map; files are missing before, for it is read then."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    disk.lose(2 * MIB + 4096, 512)
    environment = {"TWINFS_STATE_DIR": str(tmp_path / "state"), "TWINFS_RUN_DIR": str(tmp_path / "run")}
    run(*twinfs_command(), "image", "mount", "--map", disk.map, disk.path, mountpoint, env=environment)
    yield disk, mountpoint
    run("umount" if IS_ROOT else "fusermount3", *(() if IS_ROOT else ("-u",)), mountpoint)


def test_reading_what_is_missing_is_eio_and_the_rest_is_there(mounted):
    _, mountpoint = mounted
    assert (mountpoint / "p1" / "whole").read_bytes() == WHOLE
    path, content = mountpoint / "p1" / "dir" / "large", large()
    with open(path, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, 2 * MIB - 4096) == content[2 * MIB - 4096 : 2 * MIB]
        with pytest.raises(OSError) as caught:
            os.pread(file.fileno(), 4096, 2 * MIB + 4096)
        assert caught.value.errno == errno.EIO
        assert os.pread(file.fileno(), MIB, 3 * MIB) == content[3 * MIB :]


def test_the_raw_disk_has_the_same_holes(mounted):
    disk, mountpoint = mounted
    [(start, _)] = disk.rescue_map.unfinished()
    for name, offset in (("disk.img", start), ("p1.img", start - START)):
        with open(mountpoint / name, "rb", buffering=0) as file:
            with pytest.raises(OSError) as caught:
                os.pread(file.fileno(), 512, offset)
            assert caught.value.errno == errno.EIO
            assert os.pread(file.fileno(), 4096, (offset // 4096 + 8) * 4096)


def test_a_map_that_goes_on_is_read_anew(mounted):
    """The rescue read the sector after all, while the image was mounted."""
    disk, mountpoint = mounted
    path, content = mountpoint / "p1" / "dir" / "large", large()
    [(start, end)] = disk.rescue_map.unfinished()
    write_at(disk.path, start, content[2 * MIB + 4096 : 2 * MIB + 4096 + end - start])
    disk.rescue_map.mark(start, end, Status.FINISHED)
    disk.save()
    for _ in range(300):
        try:
            if path.read_bytes() == content:
                return
        except OSError as error:
            assert error.errno in (errno.EIO, errno.ESTALE)
    pytest.fail("it stays unreadable")


@pytest.mark.parametrize(("text", "words"), [("no map\n", "line 1"), (None, "No such file")])
def test_what_is_no_map_is_said(disk, text, words):
    disk.map.unlink()
    if text is not None:
        disk.map.write_text(text)
    assert words in image("affected", "--map", disk.map, disk.path, code=1).stderr


def test_a_map_that_ends_early_leaves_the_rest_unread(tmp_path):
    (tmp_path / "disk").write_bytes(b"d" * 8192)
    (tmp_path / "map").write_text("0 + 1\n0 4096 +\n")
    source = FileSource(str(tmp_path / "disk"))
    damaged = Damaged(source, str(tmp_path / "map"))
    assert damaged.read_at(0, 4096) == b"d" * 4096
    with pytest.raises(ImageError, match="could not be read"):
        damaged.read_at(4095, 2)
    assert list(damaged.unread_within(0, 8192)) == [(4096, 4096)]
    assert list(damaged.data_ranges(0, 8192)) == [(0, 8192)]
    assert damaged.physical(0, 512) is None
    with damaged.showing_places():
        assert damaged.physical(8000, 512) == (8000, 192)
    source.close()
