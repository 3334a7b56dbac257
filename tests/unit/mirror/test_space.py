"""A leg's room, asked for while its disk hangs."""

from __future__ import annotations

import os
import threading
import time

import pytest

from support.volume import wait_until
from twinfs.mirror.space import space_of


class Leg:
    """What is asked for: a descriptor, and a place in a weak dictionary."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)


@pytest.fixture
def leg(tmp_path):
    made = Leg(tmp_path)
    yield made
    os.close(made.fd)


@pytest.fixture
def disk(monkeypatch):
    """A disk that answers when it is told to; its looks are counted."""
    real, answers = os.fstatvfs, threading.Event()
    answers.set()
    answers.looks = 0

    def look(fd):
        answers.looks += 1
        answers.wait(10)
        return real(fd)

    monkeypatch.setattr(os, "fstatvfs", look)
    yield answers
    answers.set()


def test_figures_are_those_of_now(leg, tmp_path):
    assert space_of(leg).f_blocks == os.statvfs(tmp_path).f_blocks


def test_a_disk_that_hangs_is_not_waited_for_and_not_asked_again(leg, disk):
    before = space_of(leg)
    disk.clear()
    begin = time.monotonic()
    assert [space_of(leg) for _ in range(50)] == [before] * 50
    assert time.monotonic() - begin < 2
    assert disk.looks == 2
    disk.set()
    wait_until(lambda: space_of(leg) and disk.looks > 2, 5, "not asked again after it came back")


def test_a_disk_that_never_answered_is_an_error(leg, disk):
    disk.clear()
    with pytest.raises(TimeoutError):
        space_of(leg)


def test_the_disks_own_error_is_told(tmp_path, leg, monkeypatch):
    def fail(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fstatvfs", fail)
    with pytest.raises(OSError, match="Input/output"):
        space_of(leg)


def test_no_descriptor_is_kept(leg):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        space_of(leg)
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, 5, "descriptors are left")
