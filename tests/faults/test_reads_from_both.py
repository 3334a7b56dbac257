"""Reads are shared between both disks, and the secondary fails, stalls, goes away and comes back."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.alongside import alongside
from faults.scene import Scene
from faults.watching import count_of, status_of, wait_for, wait_for_state
from support.disks import forget_pages
from support.faultfs import EVERYTHING, Rule
from support.machine import needs_root
from twinfs.model import VolumeState

pytestmark = [needs_root, pytest.mark.deadline(240)]

POLICIES = pytest.mark.parametrize("policy", ("balance", "stripe"))
LARGE = "photos/2024/large"
SIZE = 12 << 20
PIECE = 128 << 10


def open_scene(base: Path, policy: str, mode: str = "sync") -> Scene:
    return Scene(base, mode, "faultfs", leg_timeout="3s", settings=(f'read_policy = "{policy}"',))


def fill(scene: Scene) -> bytes:
    content = os.urandom(SIZE)
    (scene.mount / LARGE).write_bytes(content)
    scene.volume.sync()
    wait_for_state(scene.volume, VolumeState.CLEAN)
    return content


def read_cold(scene: Scene) -> bytes:
    """From the disks: piece by piece, in any order, and then from begin to end."""
    forget_ours(scene)
    pieces: dict[int, bytes] = {}
    fd = os.open(scene.mount / LARGE, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for start in random.sample(range(0, SIZE, PIECE), SIZE // PIECE):
            pieces[start] = os.pread(fd, PIECE, start)
    finally:
        os.close(fd)
    forget_ours(scene)
    content = (scene.mount / LARGE).read_bytes()
    assert b"".join(pieces[start] for start in sorted(pieces)) == content
    return content


def forget_ours(scene: Scene) -> None:
    forget_pages(scene.mount / LARGE)
    forget_pages(scene.first / LARGE)


def forget_theirs(scene: Scene) -> None:
    """Or the layer would not be asked."""
    forget_pages(scene.leg / LARGE)


@POLICIES
@alongside
def test_what_the_secondary_cannot_read_comes_from_the_primary(base: Path, policy: str) -> None:
    with open_scene(base, policy) as scene:
        assert scene.layer is not None
        content = fill(scene)
        forget_theirs(scene)
        rule = scene.layer.fail("read", errno="EIO")
        assert read_cold(scene) == content
        assert rule.hits
        assert count_of(scene.volume, "error") == 1
        assert status_of(scene.volume).state is VolumeState.CLEAN
        scene.layer.clear()


@alongside
def test_a_secondary_that_is_slow_costs_no_wrong_byte(base: Path) -> None:
    with open_scene(base, "balance") as scene:
        assert scene.layer is not None
        content = fill(scene)
        forget_theirs(scene)
        rule = scene.layer.add(Rule(("read",), delay_seconds=0.3))
        assert read_cold(scene) == content
        assert rule.hits
        assert count_of(scene.volume, "error") == 0


@alongside
def test_a_secondary_that_hangs_in_a_read_keeps_nobody(base: Path) -> None:
    with open_scene(base, "stripe") as scene:
        assert scene.layer is not None
        content = fill(scene)
        forget_theirs(scene)
        rule = scene.layer.hang("read")
        assert read_cold(scene) == content
        assert rule.hits
        with open(scene.mount / LARGE, "r+b") as file:
            file.write(b"new")
        assert read_cold(scene) == b"new" + content[3:]
        scene.layer.clear()
        wait_for_state(scene.volume, VolumeState.CLEAN, 60)
        scene.volume.sync()
        assert (scene.leg / LARGE).read_bytes() == b"new" + content[3:]


@pytest.mark.parametrize(("mode", "policy"), (("sync", "stripe"), ("batched", "balance")))
@alongside
def test_what_it_missed_is_never_read_from_it(base: Path, policy: str, mode: str) -> None:
    with open_scene(base, policy, mode) as scene:
        assert scene.layer is not None
        content = fill(scene)
        with open(scene.mount / LARGE, "rb", buffering=0) as held:
            assert held.read(10) == content[:10]
            scene.layer.fail(*EVERYTHING, errno="EIO")
            (scene.mount / "docs/notice").write_bytes(b"that it has failed")
            wait_for_state(scene.volume, VolumeState.DEGRADED)
            # Of the same size; the other leg has the old bytes for as long as copies are refused there.
            content = os.urandom(SIZE)
            with open(scene.mount / LARGE, "r+b") as file:
                file.write(content)
            assert read_cold(scene) == content
            scene.layer.clear()
            refused = scene.layer.hang("write")
            wait_for(lambda: refused.hits, "it is not copied to the secondary", 60)
            assert read_cold(scene) == content
            scene.layer.clear()
            wait_for_state(scene.volume, VolumeState.CLEAN, 60)
            forget_theirs(scene)
            assert read_cold(scene) == content
            held.seek(0)
            assert held.read() == content


@contextmanager
def never_at_rest(scene: Scene) -> Iterator[None]:
    """Somebody writes all the while, elsewhere: the legs have no quiet moment to be made durable in."""
    is_over = threading.Event()

    def write() -> None:
        with open(scene.mount / "docs/diary", "ab", buffering=0) as diary:
            while not is_over.wait(0.1):
                diary.write(b"dear diary\n")
                os.fsync(diary.fileno())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        is_over.set()
        writer.join()


@POLICIES
@alongside
def test_what_the_secondary_may_yet_lose_is_not_read_from_it(base: Path, policy: str) -> None:
    """A write that its page cache took can fail on its way to the disk, when nobody asks for the result; the
    page may go then, and reading gives what was there before. The layer's lie is such a write."""
    with open_scene(base, policy) as scene:
        assert scene.layer is not None
        fill(scene)
        lie = scene.layer.add(Rule(("write",), path=LARGE, is_lying=True))
        content = os.urandom(SIZE)
        with never_at_rest(scene):
            with open(scene.mount / LARGE, "r+b") as file:
                file.write(content)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                forget_theirs(scene)
                assert read_cold(scene) == content
        assert lie.hits
        lie.remove()
        (scene.mount / LARGE).unlink()


@POLICIES
@alongside
def test_when_the_primary_fails_what_is_open_reads_on(base: Path, policy: str) -> None:
    with Scene(base, "sync", "dir", first="faultfs", settings=(f'read_policy = "{policy}"',)) as scene:
        assert scene.first_layer is not None
        content = fill(scene)
        with open(scene.mount / LARGE, "rb", buffering=0) as held:
            assert held.read(1 << 20) == content[: 1 << 20]
            forget_pages(scene.mount / LARGE)
            scene.first_layer.fail(*EVERYTHING, errno="EIO")
            (scene.mount / "docs/new").write_bytes(b"after")
            assert held.read() == content[1 << 20 :]
            content = os.urandom(SIZE)
            with open(scene.mount / LARGE, "r+b") as file:
                file.write(content)
            forget_pages(scene.mount / LARGE)
            held.seek(0)
            assert held.read() == content
        assert count_of(scene.volume, "promoted") == 1
        scene.first_layer.clear()
        wait_for_state(scene.volume, VolumeState.CLEAN, 60)
        assert read_cold(scene) == content
