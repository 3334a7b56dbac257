"""Fixtures of the black-box tests: scratch directories, legs, volumes in both modes, and a watchdog."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from support.disks import Disk
from support.faultfs import RUNNING, FaultLayer
from support.machine import mounts_under, run
from support.volume import LIVE, Volume

MODES = ("sync", "batched")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--legs",
        default="dir",
        choices=("dir", "ext4", "xfs", "btrfs", "faultfs"),
        help="what the legs are: plain directories, file systems on loop devices, fault layers (need root)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "deadline(seconds): when the watchdog ends a test that hangs in a mount"
    )
    # A shell starts what it puts into the background with SIGINT ignored, and children inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The usual run does the same each time; `make soak` looks for what is new.
    settings.register_profile("repeatable", derandomize=True, deadline=None)
    if config.getoption("markexpr") != "slow":
        settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def watchdog(request: pytest.FixtureRequest) -> Iterator[None]:
    """End the mounts of a test that takes too long: a hung mount would hang the whole run, unkillably."""
    if not _is_black_box(request):
        yield
        return
    marker = request.node.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else 120
    bitten: list[str] = []

    def bite() -> None:
        bitten.append(request.node.nodeid)
        faulthandler.dump_traceback(sys.__stderr__)
        for layer in list(RUNNING):
            layer.kill()
        for volume in list(LIVE):
            volume.abandon()

    timer = threading.Timer(seconds, bite)
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()
    assert not bitten, f"took more than {seconds} s; its mounts were ended by force"


def _is_black_box(request: pytest.FixtureRequest) -> bool:
    return bool({"parity", "fuse", "crash", "faults"} & set(Path(request.node.path).parts))


def make_workspace() -> Path:
    """A scratch directory that other users may pass through, unlike pytest's tmp_path."""
    directory = Path(tempfile.mkdtemp(prefix="twinfs-test-"))
    directory.chmod(0o755)
    return directory


def remove_workspace(directory: Path) -> None:
    """Never deletes through a mount that a failed test has left."""
    left = mounts_under(directory)
    for point in reversed(left):
        run("umount", "-l", os.fsdecode(point), check=False)
    if not mounts_under(directory):
        shutil.rmtree(directory)
    assert not left, f"the test left mounts: {left}"


@pytest.fixture
def workspace() -> Iterator[Path]:
    directory = make_workspace()
    yield directory
    remove_workspace(directory)


@pytest.fixture(scope="module")
def module_workspace() -> Iterator[Path]:
    directory = make_workspace()
    yield directory
    remove_workspace(directory)


@pytest.fixture
def new_disk(workspace: Path) -> Iterator[Callable[..., Disk]]:
    """Make file systems on loop devices, mounted below the workspace; all are taken out in the end."""
    disks: list[Disk] = []

    def make(name: str, kind: str = "ext4", size_bytes: int = 0, **more: Any) -> Disk:
        disks.append(Disk(workspace / name, kind, size_bytes, **more).put_in())
        return disks[-1]

    yield make
    for disk in disks:
        disk.take_out()


def make_legs(base: Path, kind: str) -> tuple[tuple[Path, Path], list[Disk | FaultLayer]]:
    """Two directories, or two file systems of the kind that --legs names, large enough for the tests."""
    roles = ("primary", "secondary")
    if kind == "dir":
        return (base / "primary", base / "secondary"), []
    if kind == "faultfs":
        layers = [FaultLayer(base / f"beneath-{role}", base / role).start() for role in roles]
        return (layers[0].path, layers[1].path), [*layers]
    size_bytes = 8 << 30  # sparse: costs what is written
    disks = [Disk(base / f"disk-{role}", kind, size_bytes).put_in() for role in roles]
    for disk in disks:
        (disk.path / "leg").mkdir()
    return (disks[0].path / "leg", disks[1].path / "leg"), [*disks]


@pytest.fixture(scope="module", params=MODES)
def shared_volume(request: pytest.FixtureRequest, module_workspace: Path) -> Iterator[Volume]:
    """A mounted volume that the tests of a module share; its legs are equal in the end."""
    base = module_workspace / request.param
    legs, disks = make_legs(base, request.config.getoption("--legs"))
    volume = _compared(_patient(Volume(base, request.param, legs).init()).mount_it())
    yield volume
    try:
        volume.assert_legs_equal()
    finally:
        _end(volume, disks)


@pytest.fixture
def new_volume(workspace: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Volume]]:
    """Make volumes that are neither initialised nor mounted yet; all are taken down in the end."""
    volumes: list[Volume] = []
    disks: list[Disk | FaultLayer] = []

    def make(mode: str = "sync", name: str = "pair", **options: object) -> Volume:
        base = workspace / name
        if "legs" not in options:
            options["legs"], more = make_legs(base, request.config.getoption("--legs"))
            disks.extend(more)
        volumes.append(Volume(base, mode, name=name, **options))  # type: ignore[arg-type]  passed through
        return volumes[-1]

    yield make
    troubles = []
    for volume in volumes:
        try:
            volume.tear_down()
        except AssertionError as trouble:
            troubles.append(str(trouble))
    for disk in disks:
        disk.take_out()
    assert not troubles, "\n".join(troubles)


@pytest.fixture(params=MODES)
def volume(request: pytest.FixtureRequest, new_volume: Callable[..., Volume]) -> Volume:
    """A fresh mounted volume of each mode."""
    return _compared(_patient(new_volume(request.param).init()).mount_it())


def _compared(volume: Volume) -> Volume:
    """Until the legs have been compared once, what changes may reach the secondary later."""
    volume.sync()
    return volume


def _patient(volume: Volume) -> Volume:
    """On a busy machine a write may take longer than people want to wait for a leg."""
    volume.configure('leg_timeout = "3m"')
    return volume


def _end(volume: Volume, disks: list[Disk | FaultLayer]) -> None:
    try:
        volume.tear_down()
    finally:
        for disk in disks:
            disk.take_out()
