"""The brake of a mounted volume: what people see, and how they go on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.volume import Volume, wait_until


def names_on_secondary(volume: Volume) -> list[str]:
    return sorted(set(os.listdir(volume.secondary)) - {".twinfs"})


@pytest.fixture
def volume(new_volume) -> Volume:
    made: Volume = new_volume("batched", interval="1h").init()
    made.configure('max_delete = "50%"')
    made.mount_it()
    made.tolerated.append("--allow-deletes")
    for number in range(10):
        (made.mount / f"file{number}").write_bytes(b"content" * number)
    made.sync()
    return made


def empty(directory: Path) -> list[str]:
    names = sorted(os.listdir(directory))
    for name in names:
        (directory / name).unlink()
    return names


def test_everything_removed_by_mistake_is_still_on_the_secondary(volume: Volume) -> None:
    names = empty(volume.mount)
    held = volume.twinfs("sync", "pair", check=False)
    assert held.returncode == 1
    assert "10 of the secondary's 10 files would be deleted" in held.stderr
    assert "twinfs sync pair --allow-deletes" in held.stderr
    assert names_on_secondary(volume) == names
    status = volume.status()
    assert status["state"] == "dirty"
    assert "--allow-deletes" in status["action"]
    assert volume.twinfs("events", "pair").stdout.count("deletions_held") == 1
    volume.twinfs("sync", "pair", "--allow-deletes")
    assert names_on_secondary(volume) == []
    assert volume.status()["state"] == "clean"
    volume.assert_legs_equal()


def test_an_unmount_holds_it_too_and_it_can_be_allowed_unmounted(volume: Volume) -> None:
    names = empty(volume.mount)
    done = volume.twinfs("umount", "pair", check=False)
    assert done.returncode == 1
    assert "--allow-deletes" in done.stderr
    volume.wait_until_dead()
    held = volume.twinfs("sync", "pair", check=False)
    assert (held.returncode, names_on_secondary(volume)) == (1, names)
    volume.twinfs("sync", "pair", "--allow-deletes")
    assert names_on_secondary(volume) == []


def test_a_kill_does_not_let_it_through(volume: Volume) -> None:
    names = empty(volume.mount)
    assert volume.twinfs("sync", "pair", check=False).returncode == 1
    volume.kill()
    volume.remount()
    held = volume.twinfs("sync", "pair", check=False)
    assert (held.returncode, names_on_secondary(volume)) == (1, names)
    volume.twinfs("sync", "pair", "--allow-deletes")
    volume.assert_legs_equal()


def test_a_batch_by_itself_stops_and_says_so(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="2s").init()
    volume.configure("max_delete_files = 3")
    volume.mount_it()
    for number in range(10):
        (volume.mount / f"file{number}").write_bytes(b"content")
    volume.sync()
    (volume.mount / "new").write_bytes(b"new")
    volume.sync()
    # One request after the other takes far less than the interval, but a batch may begin among them.
    empty(volume.mount)
    wait_until(lambda: "deletions_held" in volume.twinfs("events", "pair").stdout, 30, "no event")
    assert len(names_on_secondary(volume)) > 3
    volume.twinfs("sync", "pair", "--allow-deletes")
    volume.assert_legs_equal()
