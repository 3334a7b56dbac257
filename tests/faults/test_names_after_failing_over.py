"""Who comes by a name after the primary died, or while it cannot tell of one object, is told the truth."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.alongside import alongside
from faults.scene import Scene
from faults.watching import count_of, status_of
from support import tree
from support.machine import needs_root, run
from support.volume import wait_until
from twinfs.model import VolumeState

pytestmark = [needs_root, pytest.mark.deadline(240)]


def _seldom(base: Path, first: str) -> Scene:
    scene = Scene(base, "batched", "dir", first=first)
    scene.volume.interval = "1h"
    return scene


def _die(scene: Scene) -> None:
    """The primary dies, and somebody notices who has nothing to do with it all."""
    assert scene.first_disk is not None
    run("sync", "-f", scene.first)
    scene.first_disk.shut_down()
    (scene.mount / "docs/file11").write_text("after")
    assert status_of(scene.volume).state is VolumeState.DEGRADED


@alongside
def test_what_was_removed_since_the_last_batch_is_there_again_by_its_name(base: Path) -> None:
    with _seldom(base, "ext4") as scene:
        mount = scene.mount
        (mount / "docs/file1").unlink()
        os.rename(mount / "docs/file2", mount / "docs/elsewhere")
        shutil.rmtree(mount / "photos")
        os.rename(mount / "attic", mount / "cellar")
        gone = ("docs/file1", "docs/file2", "photos", "attic", "photos/2024/large")
        names = [mount / name for name in gone]
        assert not any(name.exists() for name in names), "and the kernel remembers that"
        _die(scene)
        # Nothing may be listed here: that would tell the kernel.
        wait_until(lambda: all(name.exists() for name in names), 10, "the kernel still knows what is not so")
        assert (mount / "photos/2024/large").read_bytes() == (scene.leg / "photos/2024/large").read_bytes()
        assert not (mount / "cellar").exists()
        tree.assert_same(scene.leg, mount)
        scene.put_back_first()


@alongside
def test_a_directory_made_in_the_place_of_another_gives_way_to_it(base: Path) -> None:
    with _seldom(base, "ext4") as scene:
        mount = scene.mount
        os.rename(mount / "docs", mount / "elsewhere")
        (mount / "docs").mkdir()
        assert not (mount / "docs/file1").exists(), "and the kernel remembers that"
        assert scene.first_disk is not None
        scene.first_disk.shut_down()
        (mount / "photos/late").mkdir()
        wait_until((mount / "docs/file1").exists, 10, "the kernel still knows the directory that is gone")
        assert not (mount / "elsewhere").exists()
        tree.assert_same(scene.leg, mount)
        scene.put_back_first()


_WORKER = """
import os, sys
os.chdir(sys.argv[1])
print("here", flush=True)
sys.stdin.readline()
print(os.getcwd(), len(os.listdir(".")), open("file1").read())
"""


@alongside
def test_who_works_in_a_directory_goes_on_there(base: Path) -> None:
    with _seldom(base, "ext4") as scene:
        docs = scene.mount / "docs"
        words = (sys.executable, "-c", _WORKER, docs)
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdin is not None and worker.stdout is not None
            assert worker.stdout.readline() == "here\n"
            (docs / "file1").write_text("later")
            docs.chmod(0o700)
            assert scene.first_disk is not None
            scene.first_disk.shut_down()
            (scene.mount / "photos/late").mkdir()
            time.sleep(1)  # for whatever the kernel is told behind that
            told, _ = worker.communicate("go on\n", timeout=60)
        assert told.split(" ", 2) == [str(docs), "13", "1 " * 500 + "\n"]
        scene.put_back_first()


def _link(path: Path) -> None:
    os.link(path, path.with_name("another"))


CALLS: dict[str, Callable[[Path], object]] = {
    "chmod": lambda path: path.chmod(0o600),
    "chown": lambda path: os.chown(path, 7, 7),
    "utime": lambda path: os.utime(path, (1, 1)),
    "setxattr": lambda path: os.setxattr(path, "user.a", b"1"),
    "listxattr": lambda path: os.listxattr(path),
    "truncate": lambda path: os.truncate(path, 3),
    "link": _link,
    "rename": lambda path: path.rename(path.with_name("renamed")),
    "unlink": lambda path: path.unlink(),
}


@alongside
def test_no_call_by_name_is_refused_for_a_file_that_went_back(base: Path) -> None:
    with _seldom(base, "ext4") as scene:
        paths = {call: scene.mount / f"docs/file{index}" for index, call in enumerate(CALLS)}
        for path in paths.values():
            path.write_text("later")
            run("sync", "-f", path)
        assert scene.first_disk is not None
        scene.first_disk.shut_down()
        for name, call in CALLS.items():
            # The first one notices; the others may come before the kernel has been told.
            call(paths[name])
        assert status_of(scene.volume).state is VolumeState.DEGRADED
        assert paths["chmod"].stat().st_mode & 0o777 == 0o600
        assert paths["truncate"].read_bytes() == b"5 5"
        wait_until(lambda: not paths["rename"].exists(), 10, "it is still there")
        tree.assert_same(scene.leg, scene.mount)
        scene.put_back_first()


@alongside
def test_a_file_that_went_back_makes_no_failed_volume(base: Path) -> None:
    with _seldom(base, "ext4") as scene, open(scene.mount / "docs/file1", "r+b", buffering=0) as held:
        held.write(b"later")
        os.fsync(held.fileno())
        _die(scene)
        for _ in range(3):
            with pytest.raises(OSError, match=r"Errno (5|116)\b"):
                os.fsync(held.fileno())
            time.sleep(0.3)
        assert status_of(scene.volume).state is VolumeState.DEGRADED
        assert count_of(scene.volume, "primary_failed") == 1
        scene.put_back_first()


@alongside
def test_a_listing_does_not_leave_out_what_the_primary_cannot_tell_of(base: Path) -> None:
    """An rsync --delete from the volume would take its copy away."""
    with Scene(base, "sync", "dir", first="faultfs") as scene:
        assert scene.first_layer is not None
        scene.volume.umount()
        scene.volume.mount_it()
        scene.first_layer.fail("lookup", "getattr", errno="EIO", path="docs/file3")
        found: list[str] = []
        with (
            pytest.raises(OSError, match="Input/output error"),
            os.scandir(scene.mount / "docs") as listing,
        ):
            found.extend(entry.name for entry in listing)
        assert sorted(found) == sorted({*os.listdir(scene.leg / "docs")} - {"file3"})
        assert count_of(scene.volume, "promoted", "primary_failed") == 0
        scene.first_layer.clear()
        assert sorted(os.listdir(scene.mount / "docs")) == sorted(os.listdir(scene.leg / "docs"))
