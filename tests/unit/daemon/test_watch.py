"""While a volume is mounted: the metrics file and the reminders, on a virtual clock."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from twinfs.daemon.herald import Herald
from twinfs.daemon.watch import Watch
from twinfs.model import Pending
from unit.daemon.fakes import make_config, make_paths
from unit.report.test_attention import HEALTHY


class Scene:
    """A watch over a status that the test sets, with reminders that only count."""

    def __init__(self, base):
        self.file = base / "metrics" / "pair.prom"
        self.file.parent.mkdir()
        self.config = replace(make_config(base), metrics_file=str(self.file))
        paths = make_paths(base)
        paths.make_volume_dir("pair")
        self.status = HEALTHY
        self.looks = 0
        self.herald = Herald(paths, self.config)

    def watch(self):
        return Watch(self.config, self.now, self.herald, self)

    async def now(self):
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    def look(self, status):
        self.looks += 1

    def value(self, name):
        lines = self.file.read_text().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


@pytest.fixture
def clock():
    # Not at once: the writing threads have to come back first.
    return trio.testing.MockClock(autojump_threshold=0.03)


async def test_the_file_is_there_at_once_and_follows_what_happens(scene, nursery, clock):
    nursery.start_soon(scene.watch().run)
    await trio.sleep(1)
    assert scene.value("twinfs_pending_changes") == 0
    scene.status = replace(HEALTHY, pending=Pending(3, 10, 1.0))
    await trio.sleep(20)
    assert scene.value("twinfs_pending_changes") == 3
    assert scene.file.stat().st_mode & 0o777 == 0o644
    assert os.listdir(scene.file.parent) == ["pair.prom"]
    nursery.cancel_scope.cancel()


async def test_an_event_is_in_it_a_moment_later(scene, nursery, clock):
    nursery.start_soon(scene.watch().run)
    await trio.sleep(1)
    for _ in range(5):
        scene.herald.tell("secondary_failed", "EIO")
    await trio.sleep(2)
    assert 'severity="error"} 5' in scene.file.read_text()
    nursery.cancel_scope.cancel()


async def test_it_is_written_at_least_every_minute_and_not_for_nothing(scene, nursery, clock):
    nursery.start_soon(scene.watch().run)
    seen = []
    await trio.sleep(1)
    for _ in range(20):
        seen.append(scene.file.stat().st_mtime_ns)
        await trio.sleep(15)
    changes = sum(one != other for one, other in itertools.pairwise(seen))
    assert 4 <= changes <= 5  # in five minutes
    nursery.cancel_scope.cancel()


async def test_the_end_is_marked(scene, nursery, clock):
    watch = scene.watch()
    nursery.start_soon(watch.run)
    await trio.sleep(1)
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await watch.finish()
    assert scene.value("twinfs_mounted") == 0
    assert "twinfs_state{" not in scene.file.read_text()


async def test_a_file_that_cannot_be_written_is_told_once_and_written_when_it_can_be(
    scene, nursery, clock, caplog
):
    scene.file.parent.rmdir()
    nursery.start_soon(scene.watch().run)
    await trio.sleep(200)
    assert caplog.text.count("No such file or directory") == 1
    scene.file.parent.mkdir()
    await trio.sleep(20)
    assert scene.value("twinfs_mounted") == 1
    nursery.cancel_scope.cancel()


async def test_a_state_that_cannot_be_found_out_stops_neither_file_nor_reminders(scene, nursery, clock):
    scene.status = OSError(5, "Input/output error")
    nursery.start_soon(scene.watch().run)
    await trio.sleep(100)
    assert (scene.looks, scene.file.exists()) == (0, False)
    scene.status = HEALTHY
    await trio.sleep(100)
    assert scene.looks >= 3
    assert scene.value("twinfs_mounted") == 1
    nursery.cancel_scope.cancel()


async def test_a_file_on_a_disk_that_hangs_stops_neither_reminders_nor_the_end(
    scene, nursery, clock, tmp_path
):
    os.mkfifo(tmp_path / "fifo")

    def hang(*_):
        # An open of a pipe that nobody writes to: as stuck as a disk that does not answer.
        Path(tmp_path / "fifo").read_bytes()

    watch = scene.watch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twinfs.daemon.watch.write_whole", hang)
        nursery.start_soon(watch.run)
        await trio.sleep(200)
        assert scene.looks >= 6
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await watch.finish()
    with open(tmp_path / "fifo", "wb"):
        pass  # lets the threads go
