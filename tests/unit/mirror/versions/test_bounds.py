"""What changes all the time does not fill the disk; what is deleted is kept all the same."""

from __future__ import annotations

from pathlib import Path

from twinfs.mirror.versions.bounds import APART_SECONDS, Bounds
from twinfs.model import Mode
from unit.mirror.kit import KEEP_SECONDS, Ground, new_ground, running


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_version_of_a_file_a_minute_and_mib() -> None:
    clock = Clock()
    bounds = Bounds(clock)
    kept = 0
    for _ in range(600):
        clock.now += 1
        if bounds.is_content_due(b"f", 100):
            bounds.kept(b"f")
            kept += 1
    assert kept == 10
    assert not bounds.is_content_due(b"f", 5 << 20)
    clock.now += 5 * APART_SECONDS
    assert bounds.is_content_due(b"f", 5 << 20)
    assert bounds.is_content_due(b"another", 5 << 20)


def test_what_is_deleted_is_kept_unless_it_is_as_short_lived_as_the_last_one() -> None:
    clock = Clock()
    bounds = Bounds(clock)
    bounds.born(b"lock")
    assert bounds.is_object_due(b"lock")
    bounds.kept(b"lock")
    bounds.born(b"lock")
    assert not bounds.is_object_due(b"lock")
    clock.now += APART_SECONDS
    assert bounds.is_object_due(b"lock")
    bounds.kept(b"old file")
    assert bounds.is_object_due(b"old file"), "it was there for longer than the last minute"


def test_a_temporary_is_as_young_under_its_new_name() -> None:
    bounds = Bounds(Clock())
    bounds.kept(b"f")
    bounds.born(b"f.tmp")
    bounds.moved(b"f.tmp", b"f")
    assert not bounds.is_object_due(b"f")
    bounds.moved(b"an old one", b"f")
    assert bounds.is_object_due(b"f")


def kept_objects(ground: Ground) -> int:
    return len(list((ground.secondary / ".twinfs/versions").glob("*/[0-9]*")))


async def test_a_program_that_saves_every_moment_leaves_a_few_versions(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC, keep=KEEP_SECONDS)
    async with running(ground) as user:
        await user.put("truncated", b"0")
        await user.put("replaced", b"0")
        for number in range(1, 30):
            await user.truncate("truncated", 0)
            await user.write("truncated", 0, b"%d" % number)
            await user.put("replaced.tmp", b"%d" % number)
            await user.rename("replaced.tmp", "replaced")
            await user.put("lock", b"")
            await user.unlink("lock")
        await user.volume.sync()
        assert 3 <= kept_objects(ground) <= 6
        await user.unlink("truncated")
        assert kept_objects(ground) <= 7
    ground.assert_equal()
