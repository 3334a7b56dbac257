"""`MOUNTPOINT/.twinfs`: found by name, never listed, read-only; and `status` in it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tarfile
import time
from pathlib import Path

import pytest

from support.machine import as_other, needs_root, outcome, run, tool
from support.volume import Volume, wait_until

# What is asked of it does not depend on when the secondary follows.
one_mode = pytest.mark.parametrize("shared_volume", ["sync"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def ours(shared_volume: Volume) -> Path:
    (shared_volume.mount / "dir").mkdir(exist_ok=True)
    (shared_volume.mount / "dir/file").write_text("content")
    return shared_volume.mount / ".twinfs"


@one_mode
def test_status_is_the_object_that_the_command_prints(shared_volume: Volume, ours: Path) -> None:
    read = json.loads((ours / "status").read_text())
    printed = shared_volume.status()
    assert read.keys() == printed.keys()
    for field in ("type", "volume", "pid", "mode", "mountpoint", "last_scrub", "action"):
        assert read[field] == printed[field]
    assert [leg["path"] for leg in read["legs"]] == [leg["path"] for leg in printed["legs"]]


def test_status_follows_what_happens(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    status = volume.mount / ".twinfs/status"
    wait_until(lambda: json.loads(status.read_text())["state"] == "clean", 10, "not clean")
    held = status.open()
    (volume.mount / "file").write_bytes(b"x" * 5000)
    wait_until(lambda: json.loads(status.read_text())["pending"]["bytes"] == 5000, 10, "not noticed")
    # Who has it open keeps what was there, as of a file that was replaced.
    assert json.loads(held.read())["state"] == "clean"
    held.close()
    volume.sync()
    wait_until(lambda: json.loads(status.read_text())["state"] == "clean", 10, "not clean again")


@one_mode
def test_its_size_is_what_can_be_read(ours: Path, tmp_path: Path) -> None:
    for _ in range(20):
        with (ours / "status").open("rb") as file:
            assert os.fstat(file.fileno()).st_size == len(file.read())
        time.sleep(0.07)
    run("cp", ours / "status", tmp_path / "copy")
    run(tool("rsync", "rsync"), "-a", ours / "status", tmp_path / "synced")
    for name in ("copy", "synced"):
        assert json.loads((tmp_path / name).read_text())["type"] == "status"


@one_mode
def test_the_directory_looks_like_one(ours: Path) -> None:
    assert os.listdir(ours) == ["images", "status"]
    assert stat.S_IMODE(ours.stat().st_mode) == 0o555
    assert stat.S_IMODE((ours / "status").stat().st_mode) == 0o444
    assert (ours.stat().st_dev, (ours / "..").resolve()) == (ours.parent.stat().st_dev, ours.parent)
    assert os.path.samestat((ours / "..").stat(), ours.parent.stat())
    with os.scandir(ours) as entries:
        assert [(entry.name, entry.is_file(), entry.inode()) for entry in entries] == [
            ("images", False, (ours / "images").stat().st_ino),
            ("status", True, (ours / "status").stat().st_ino),
        ]
    assert outcome(os.stat, ours / "label.json")[0] == "ENOENT"
    assert outcome(os.listdir, ours / "status")[0] == "ENOTDIR"
    assert outcome(os.listxattr, ours) == ("ok", [])
    assert outcome(os.getxattr, ours / "status", "user.x")[0] == "ENODATA"


@one_mode
def test_nothing_that_walks_the_volume_meets_it(shared_volume: Volume, ours: Path, tmp_path: Path) -> None:
    os.stat(ours / "status")  # the kernel knows it by now
    mount = shared_volume.mount
    assert run("find", mount).stdout.splitlines() == [str(mount), f"{mount}/dir", f"{mount}/dir/file"]
    assert ".twinfs" not in run("ls", "-lAR", mount).stdout
    assert ".twinfs" not in run("du", "-a", mount).stdout
    run("tar", "-cf", tmp_path / "all.tar", "-C", mount, ".")
    with tarfile.open(tmp_path / "all.tar") as archive:
        assert sorted(archive.getnames()) == [".", "./dir", "./dir/file"]
    run(tool("rsync", "rsync"), "-a", "--delete", f"{mount}/", tmp_path / "copy")
    assert os.listdir(tmp_path / "copy") == ["dir"]
    run("cp", "-a", f"{mount}/.", tmp_path / "copy2")
    assert os.listdir(tmp_path / "copy2") == ["dir"]
    assert run("rsync", "-ani", "--delete", f"{tmp_path}/copy/", f"{mount}/").stdout == ""


@one_mode
def test_programs_that_walk_into_it_by_name_find_their_way(ours: Path, tmp_path: Path) -> None:
    everything = [str(ours), f"{ours}/images", f"{ours}/images/dir", f"{ours}/status"]
    assert run("find", ours).stdout.splitlines() == everything
    run("cp", "-r", ours, tmp_path / "copy")
    assert json.loads((tmp_path / "copy/status").read_text())["type"] == "status"
    done = run("grep", "-r", "-l", "secondary", ours)
    assert done.stdout == f"{ours}/status\n"


@one_mode
@needs_root
def test_even_root_changes_nothing(shared_volume: Volume, ours: Path) -> None:
    mount, status = shared_volume.mount, ours / "status"
    below = ours / "new"
    for call, *arguments in (
        (os.mkdir, below),
        (os.mkfifo, below),
        (os.symlink, "x", below),
        (os.open, below, os.O_CREAT | os.O_WRONLY),
        (os.open, status, os.O_WRONLY),
        (os.open, status, os.O_RDWR),
        (os.open, status, os.O_RDONLY | os.O_TRUNC),
        (os.truncate, status, 0),
        (os.unlink, status),
        (os.rename, status, mount / "taken"),
        (os.rename, mount / "dir/file", below),
        (os.rename, mount / "dir/file", status),
        (os.link, mount / "dir/file", below),
        (os.chmod, status, 0o666),
        (os.chmod, ours, 0o777),
        (os.chown, ours, 1, 1),
        (os.utime, status),
        (os.setxattr, status, "user.x", b"x"),
        (os.removexattr, ours, "user.x"),
    ):
        assert outcome(call, *arguments)[0] == "EROFS", (call, arguments)
    assert outcome(os.link, status, mount / "linked")[0] == "EXDEV"
    for call, *arguments in (
        (os.rmdir, ours),
        (os.rename, ours, mount / "taken"),
        (os.rename, mount / "dir", ours),
    ):
        assert outcome(call, *arguments)[0] in ("EPERM", "ENOTEMPTY"), (call, arguments)
    assert outcome(os.mkdir, ours)[0] == "EEXIST"
    assert sorted(os.listdir(mount)) == ["dir"]
    assert (mount / "dir/file").read_text() == "content"


@one_mode
@needs_root
def test_others_may_read_it_and_change_nothing(ours: Path) -> None:
    assert json.loads(as_other((ours / "status").read_text))["type"] == "status"
    assert as_other(lambda: outcome(os.unlink, ours / "status")[0]) == "EACCES"
    assert as_other(lambda: outcome(os.open, ours / "status", os.O_WRONLY)[0]) == "EACCES"
    assert as_other(lambda: outcome(os.mkdir, ours / "new")[0]) == "EACCES"


def test_a_volume_is_emptied_and_filled_with_it_known(new_volume) -> None:
    volume: Volume = new_volume("batched").init().mount_it()
    ours = volume.mount / ".twinfs"
    assert ours.is_dir()
    shutil.copytree("/etc/apt", volume.mount / "x")
    run("find", volume.mount, "-mindepth", "1", "-delete")
    assert os.listdir(volume.mount) == []
    assert ours.is_dir()
    assert not (volume.primary / ".twinfs/status").exists()
    volume.assert_legs_equal()
