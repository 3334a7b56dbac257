"""What may be lost: a map on disk never says more than the image durably holds."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from twinfs.images.rescue_map import RescueMap, Status, parse
from twinfs_capture.disk import map_file
from twinfs_capture.disk.image import Room
from twinfs_capture.disk.map_file import MapFile
from twinfs_capture.errors import CaptureError, Interrupted
from twinfs_capture.stop import Stop

SIZE = 4096


@pytest.fixture
def image(tmp_path):
    fd = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, SIZE)
    yield fd
    os.close(fd)


@pytest.fixture
def kept(tmp_path, image):
    rescue_map = RescueMap(SIZE)
    return MapFile(tmp_path / "image.map", rescue_map, threading.Lock(), image), rescue_map


def on_disk(tmp_path) -> int:
    return parse((tmp_path / "image.map").read_text()).total_bytes(Status.FINISHED)


def test_the_image_is_durable_before_the_map_says_so_and_the_map_is_older_than_that(
    tmp_path, kept, monkeypatch
):
    keeper, rescue_map = kept
    steps = []

    def fdatasync(fd: int) -> None:
        steps.append("image")
        # Written meanwhile: not covered by this fsync, so not to be claimed.
        rescue_map.mark(512, 1024, Status.FINISHED)

    def replace(*args, **more) -> None:
        steps.append("map")
        original(*args, **more)

    original = map_file.replace_file
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(map_file, "replace_file", replace)
    rescue_map.mark(0, 512, Status.FINISHED)
    keeper.save()
    assert steps == ["image", "map"]
    assert on_disk(tmp_path) == 512


def test_after_a_failed_fsync_nothing_newer_is_claimed_even_if_the_next_one_succeeds(
    tmp_path, kept, monkeypatch
):
    keeper, rescue_map = kept
    rescue_map.mark(0, 512, Status.FINISHED)
    keeper.save()
    rescue_map.mark(512, 1024, Status.FINISHED)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(CaptureError, match="could not be made durable"):
            keeper.save()
    with pytest.raises(CaptureError, match="could not be made durable"):
        keeper.save_at_last(Room(Stop(), may_wait=True))
    assert on_disk(tmp_path) == 512


def test_the_saving_thread_tells_of_its_failure(kept, monkeypatch):
    keeper, _ = kept

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    keeper.start_saving(0.001)
    assert keeper._thread is not None
    keeper._thread.join(10)
    assert keeper.error is not None
    keeper.stop_saving()


def test_a_full_disk_leaves_the_old_map_and_is_no_failure_of_the_saving_thread(tmp_path, kept, monkeypatch):
    keeper, rescue_map = kept
    keeper.save()
    rescue_map.mark(0, 512, Status.FINISHED)
    tried = threading.Event()

    def full(*args: object, **more: object) -> None:
        tried.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(map_file, "replace_file", full)
        keeper.start_saving(0.001)
        assert tried.wait(10)
        keeper.stop_saving()
        assert keeper.error is None
        assert on_disk(tmp_path) == 0
    keeper.save_at_last(Room(Stop(), may_wait=True))
    assert on_disk(tmp_path) == 512


def test_waiting_for_room_ends_when_asked_to(tmp_path):
    stop = Stop()
    room = Room(stop, may_wait=True)

    def full() -> int:
        stop.ask()
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with pytest.raises(Interrupted):
        room.insist(full, tmp_path / "image")


def test_room_is_waited_for_again_and_again(tmp_path, capsys):
    room = Room(Stop(), may_wait=True)
    answers = iter([errno.ENOSPC, errno.ENOSPC, 0])

    def write() -> int:
        code = next(answers)
        if code:
            raise OSError(code, os.strerror(code))
        return 7

    assert room.insist(write, tmp_path / "image") == 7
    said = capsys.readouterr().err
    assert said.count("no room") == 1
    assert "going on" in said
