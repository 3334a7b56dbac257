"""The commands without FUSE, as people run them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from support.compare import Keeps, _differences
from support.images import MIB, blank, sfdisk, sfdisk_json, tool, write_at
from support.machine import needs_root
from support.odd_tree import SECOND, Wants, build, manifest
from support.volume import twinfs_command

pytestmark = needs_root  # for owners and nodes in the image
TIMES = (1_600_000_000 * SECOND, -86_400 * SECOND, 2_000_000_000 * SECOND)
WANTS = Wants(entries=300, times=TIMES, long_xattr_bytes=500)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tree") / "tree"
    build(path, WANTS)
    return path


@pytest.fixture(scope="module")
def disk(tmp_path_factory, tree) -> Path:
    """The odd tree in partition 1; in partition 2 a FAT that holds a qcow2 with a file system."""
    directory = tmp_path_factory.mktemp("disk")
    path = blank(directory / "disk.img", 128 * MIB)
    sfdisk(path, "label: dos\nstart=2048, size=64MiB\nsize=40MiB, type=c, bootable\n")
    part = blank(directory / "part", 64 * MIB)
    tool("mkfs.ext4", "-q", "-F", "-d", tree, part)
    write_at(path, 2048 * 512, part.read_bytes())
    inner_tree = directory / "inner_tree"
    inner_tree.mkdir()
    (inner_tree / "found").write_bytes(b"two images deep")
    tool("mkfs.ext4", "-q", "-F", "-d", inner_tree, blank(directory / "inner.raw", 8 * MIB))
    tool("qemu-img", "convert", "-O", "qcow2", directory / "inner.raw", directory / "inner.qcow2")
    fat = blank(directory / "fat", 40 * MIB)
    tool("mkfs.vfat", "-n", "BOOT", fat)
    tool("mcopy", "-i", fat, directory / "inner.qcow2", "::inner.qcow2")
    write_at(path, 2048 * 512 + 64 * MIB, fat.read_bytes())
    return path


def image(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [*twinfs_command(), "image", *map(str, words)],
        capture_output=True,
        check=False,
        env={**os.environ, "TZ": "UTC", "COLUMNS": "200"},
    )
    assert done.returncode == code, done.stderr.decode()
    return done


def test_info_for_eyes_and_for_programs_say_the_same(disk):
    told = image("info", disk).stdout.decode()
    assert "raw image, 128 MiB" in told
    found = json.loads(image("info", disk, "--json").stdout)
    assert [each["start"] for each in sfdisk_json(disk)["partitions"]] == [
        each["start_sector"] for each in found["partitions"]
    ]
    assert (found["type"], found["container"], found["scheme"]) == ("image", "raw", "mbr")
    first, second = found["partitions"]
    assert (first["filesystem"], second["filesystem"], second["label"]) == ("ext4", "vfat", "BOOT")
    assert second["bootable"]
    for each in found["partitions"]:
        assert str(each["start_sector"]) in told


def test_ls_lists_names_or_all_that_is_known(disk, tree):
    assert image("ls", disk).stdout.decode().split() == ["disk.img", "p1", "p1.img", "p2", "p2.img"]
    names = set(image("ls", disk, "/p1/many").stdout.decode().splitlines())
    assert names == set(os.listdir(tree / "many"))
    line = next(
        line
        for line in image("ls", disk, "/p1", "-l").stdout.decode().splitlines()
        if line.endswith(" small")
    )
    assert line.split() == ["-rwsr-x--x", "3", "1000", "2000", "14", "2020-09-13", "12:26:40", "small"]


def test_ls_recursively_as_json_is_the_whole_tree(disk, tree):
    lines = image("ls", disk, "/p1", "-R", "--json").stdout.decode().splitlines()
    paths = {json.loads(line)["path"] for line in lines}
    expected = {"/p1/" + path.decode(errors="backslashreplace") for path in manifest(tree)}
    assert paths - {"/p1/lost+found"} == expected


def test_control_characters_of_a_name_do_not_reach_the_terminal(disk):
    listed = image("ls", disk, "/p1/names").stdout
    assert b"new?line" in listed
    assert b"\xff" not in listed


def test_cat_writes_files_partitions_and_the_disk(disk, tree):
    assert image("cat", disk, "/p1/large").stdout == (tree / "large").read_bytes()
    assert image("cat", disk, "/disk.img").stdout == disk.read_bytes()
    assert image("cat", disk, "/p2.img").stdout[54:62] == disk.read_bytes()[2048 * 512 + 64 * MIB :][54:62]


def test_a_path_goes_on_into_an_image_within_the_image(disk):
    assert image("cat", disk, "/p2/inner.qcow2/p0/found").stdout == b"two images deep"
    assert image("ls", disk, "/p2/inner.qcow2/").stdout.decode().split() == ["disk.img", "p0"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cat", "{disk}", "/p1/absent"), "/p1/absent: not in the image"),
        (("cat", "{disk}", "/p1/fifo/absent"), "/p1/fifo: not a directory"),
        (("cat", "{disk}", "/p1/dir"), "not a file"),
        (("ls", "{disk}", "/p9"), "/p9: not in the image"),
        (("info", "/absent.img"), "/absent.img: No such file"),
        (("info", "/dev/null"), "neither a file nor a block device"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(disk, words, says):
    done = image(*(word.format(disk=disk) for word in words), code=1)
    assert says in done.stderr.decode()
    assert len(done.stderr.decode().splitlines()) == 1


def test_extract_keeps_everything(disk, tree, tmp_path):
    image("extract", disk, "/p1", tmp_path / "out")
    found, expected = manifest(tmp_path / "out"), manifest(tree)
    assert set(found) - {b"lost+found"} == set(expected)
    keeps = Keeps(times_ns=SECOND)
    for path, wanted in expected.items():
        assert not list(_differences(found[path], wanted, keeps)), path
    blocks = os.stat(tmp_path / "out" / "sparse_large").st_blocks
    assert blocks * 512 < MIB, "the holes were filled"
    same = {os.stat(tmp_path / "out" / name).st_ino for name in ("small", "third_name", "dir/second_name")}
    assert len(same) == 1


def test_extract_puts_into_a_directory_and_replaces_nothing(disk, tmp_path):
    image("extract", disk, "/p1/small", tmp_path)
    assert (tmp_path / "small").read_bytes() == b"small content\n"
    (tmp_path / "small").write_bytes(b"mine")
    image("extract", disk, "/p1/small", tmp_path, code=1)
    assert (tmp_path / "small").read_bytes() == b"mine"


def test_extract_never_writes_through_a_symbolic_link(disk, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "dir").symlink_to(victim)
    image("extract", disk, "/p1/dir", out, code=1)
    (tmp_path / "link").symlink_to(victim / "file")
    image("extract", disk, "/p1/small", tmp_path / "link", code=1)
    assert not list(victim.iterdir())


def test_extract_by_an_ordinary_user_leaves_out_owners_and_devices(disk, tmp_path):
    tmp_path.chmod(0o777)
    # pytest's own directories, of which there is one more where tests run in several processes.
    parents = {*disk.parents, *tmp_path.parents}
    opened = {each for each in parents if each.name.startswith(("pytest-", "popen-"))}
    for path in (disk, disk.parent, *opened):
        path.chmod(0o755)
    setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run(
        [*setpriv, *twinfs_command(), "image", "extract", disk, "/p1", tmp_path / "out"],
        capture_output=True,
        check=False,
    )
    told = done.stderr.decode()
    assert done.returncode == 1
    assert "char: a device node, which only root can make" in told
    status = os.stat(tmp_path / "out" / "small")
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (65534, 0o4751)


def test_what_can_be_read_of_a_damaged_directory_is_listed_and_the_rest_told(tmp_path):
    source = tmp_path / "tree"
    (source / "dir").mkdir(parents=True)
    for number in range(300):
        (source / "dir" / f"a file with a rather long name {number:04}").write_bytes(b"")
    path = blank(tmp_path / "image", 16 * MIB)
    tool("mkfs.ext4", "-q", "-F", "-b", "1024", "-d", source, path)
    data = path.read_bytes()
    at = data.index(b"a file with a rather long name 0250")
    write_at(path, at - 8 + 4, b"\x03\x00")  # an impossible length of the entry
    done = image("ls", path, "/p0/dir", code=1)
    listed = done.stdout.decode().splitlines()
    assert 100 < len(listed) < 300
    assert "bad directory entry" in done.stderr.decode()


def test_a_damaged_partition_leaves_the_others_readable(disk, tmp_path):
    path = tmp_path / "damaged.img"
    path.write_bytes(disk.read_bytes())
    write_at(path, 2048 * 512 + 1024 + 0x20, bytes(8))  # no blocks in a group: impossible
    assert "p1: ext4" in image("ls", path, "/p1", code=1).stderr.decode()
    assert image("ls", path, "/p2").stdout.decode().split() == ["inner.qcow2"]
    assert image("ls", path, "-l").stdout.decode().splitlines()[1].startswith("d---------")
