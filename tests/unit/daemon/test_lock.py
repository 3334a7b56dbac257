"""One process a volume."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from twinfs.daemon import lock
from twinfs.daemon.lock import VolumeLock
from twinfs.errors import AlreadyMountedError, StateError
from unit.daemon.fakes import make_paths

HOLD = """
import sys
from pathlib import Path
from twinfs.daemon.lock import VolumeLock
from twinfs.daemon.paths import Paths
with VolumeLock(Paths(Path("/"), Path(sys.argv[1]), Path("/")), "pair"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path):
    return make_paths(tmp_path)


@pytest.fixture
def holder(paths):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, paths.state_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_second_process_is_refused_and_told_who_has_it(paths, holder):
    assert lock.is_held(paths, "pair")
    with (
        pytest.raises(AlreadyMountedError, match=f"in use by process {holder.pid}"),
        VolumeLock(paths, "pair"),
    ):
        pass


def test_a_killed_holder_leaves_nothing_behind(paths, holder):
    holder.kill()
    assert lock.wait_until_free(paths, "pair", 5)
    with VolumeLock(paths, "pair"):
        assert lock.is_held(paths, "pair")
    assert not lock.is_held(paths, "pair")


def test_waiting_for_a_living_holder_ends_in_time(paths, holder):
    assert not lock.wait_until_free(paths, "pair", 0.1)


def test_a_volume_that_never_ran_is_free(paths):
    assert not lock.is_held(paths, "pair")


def test_asking_does_not_keep_a_daemon_from_starting(paths):
    with VolumeLock(paths, "pair"):
        pass
    end = threading.Event()

    def ask():
        while not end.is_set():
            lock.is_held(paths, "pair")

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(20):
            with VolumeLock(paths, "pair"):
                pass
    finally:
        end.set()
        asker.join()


def test_a_state_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError, match="state directory"), VolumeLock(make_paths(tmp_path), "pair"):
        pass


def test_children_do_not_inherit_the_lock(paths):
    with VolumeLock(paths, "pair"):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert not lock.is_held(paths, "pair")
    finally:
        child.kill()
        child.wait()


def test_the_lock_names_its_holder_for_messages(paths):
    with VolumeLock(paths, "pair"):
        assert paths.lock_file("pair").read_text() == f"{os.getpid()}\n"
