"""The kernel keeps listings of directories, and never one that is no longer true."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.images import MIB, blank, tool
from support.machine import needs_root
from support.mounted_image import Mounted, readers_of
from support.volume import Volume
from twinfs.fuse.listing_cache import library

NAMES = 1500
LONG = "x" * 100  # more of them, and more than one request lists


def reads_of(pid: int | None) -> int:
    """How often that process has read anything, requests among it: proc_pid_io(5)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("syscr"))


def requests_for(pid: int | None, call: Callable[[], object]) -> int:
    before = reads_of(pid)
    call()
    return reads_of(pid) - before


def assert_listed_once(pid: int | None, directory: Path) -> None:
    first = requests_for(pid, lambda: os.listdir(directory))
    assert first > 12
    assert min(requests_for(pid, lambda: os.listdir(directory)) for _ in range(5)) < first / 2
    # Nor does the kernel ask for what it was told with the names.
    assert (
        min(requests_for(pid, lambda: [os.stat(each) for each in os.scandir(directory)]) for _ in range(5))
        < first / 2
    )


@pytest.fixture
def listed(new_volume: Callable[..., Volume]) -> Volume:
    volume = new_volume("batched", interval="600s").init()
    for leg in (volume.primary, volume.secondary):
        (leg / "many").mkdir()
        for number in range(NAMES):
            (leg / "many" / f"{number:05}{LONG}").touch()
    return volume.mount_it()


def test_it_is_built_where_there_is_a_compiler():
    if not shutil.which("gcc"):
        pytest.skip("no compiler")
    assert library() is not None


def test_a_directory_is_listed_once_as_long_as_nothing_changes(listed: Volume) -> None:
    if library() is None:
        pytest.skip("built without a compiler")
    assert_listed_once(listed.pid, listed.mount / "many")


@needs_root
@pytest.mark.parametrize("words", [(), ("--overlay", "changes")], ids=["read-only", "overlay"])
def test_so_is_one_of_an_image(
    mount: Callable[..., Mounted], workspace: Path, words: tuple[str, ...]
) -> None:
    if library() is None:
        pytest.skip("built without a compiler")
    (workspace / "tree" / "many").mkdir(parents=True)
    for number in range(NAMES):
        (workspace / "tree" / "many" / f"{number:05}{LONG}").touch()
    image = blank(workspace / "image", 32 * MIB)
    tool("mkfs.ext4", "-q", "-d", workspace / "tree", image)
    top = mount(image, words=(*words[:1], *(workspace / word for word in words[1:]))).path
    assert len(os.listdir(top / "p0")) == 2
    [reader] = readers_of(image)
    status = Path(f"/proc/{reader}/status").read_text()
    [daemon] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:")]
    assert_listed_once(daemon, top / "p0" / "many")


def test_a_listing_follows_every_change(listed: Volume) -> None:
    directory, expected = listed.mount / "many", {f"{number:05}{LONG}" for number in range(NAMES)}
    assert set(os.listdir(directory)) == expected
    changes: list[tuple[Callable[[], object], set[str], set[str]]] = [
        (lambda: (directory / "new").touch(), {"new"}, set()),
        (lambda: (directory / "new").rename(directory / "newer"), {"newer"}, {"new"}),
        (lambda: (directory / f"00007{LONG}").unlink(), set(), {f"00007{LONG}"}),
        (lambda: (directory / "sub").mkdir(), {"sub"}, set()),
        (lambda: (directory / "sub").rmdir(), set(), {"sub"}),
        (lambda: os.link(directory / f"00001{LONG}", directory / "link"), {"link"}, set()),
        (lambda: (directory / f"00002{LONG}").rename(listed.mount / "elsewhere"), set(), {f"00002{LONG}"}),
        (lambda: (listed.mount / "elsewhere").rename(directory / "back"), {"back"}, set()),
        (lambda: (directory / f"00003{LONG}").replace(directory / f"00004{LONG}"), set(), {f"00003{LONG}"}),
    ]
    for change, added, removed in changes:
        change()
        expected = (expected | added) - removed
        assert set(os.listdir(directory)) == expected
        assert set(os.listdir(directory)) == expected


def test_who_lists_meanwhile_sees_what_was_there_all_the_time(listed: Volume) -> None:
    directory = listed.mount / "many"
    kept = {f"{number:05}{LONG}" for number in range(0, NAMES, 2)}
    is_over = threading.Event()

    def remove_the_others() -> None:
        for number in range(1, NAMES, 2):
            (directory / f"{number:05}{LONG}").unlink()
        is_over.set()

    thread = threading.Thread(target=remove_the_others)
    thread.start()
    while not is_over.is_set():
        found = os.listdir(directory)
        assert kept <= set(found)
        assert len(found) == len(set(found))
    thread.join()
    assert set(os.listdir(directory)) == kept


def test_what_a_scrub_brings_back_is_listed(
    new_volume: Callable[..., Volume],
) -> None:
    volume = new_volume("sync").init().mount_it()
    (volume.mount / "folder").mkdir()
    (volume.mount / "folder" / "file").write_bytes(b"known on both")
    volume.sync()
    volume.twinfs("scrub", volume.name)
    volume.umount()
    (volume.primary / "folder" / "file").unlink()
    volume.mount_it()
    assert os.listdir(volume.mount / "folder") == []
    assert volume.twinfs("scrub", volume.name, "--repair", check=False).returncode == 1
    assert os.listdir(volume.mount / "folder") == ["file"]
    assert (volume.mount / "folder" / "file").read_bytes() == b"known on both"
