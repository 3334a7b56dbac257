"""Batched mode: what waits, what it costs the secondary, and changing the mode."""

from __future__ import annotations

import os
import time
from pathlib import Path

from support import tree
from support.volume import Volume, wait_until


def names_on_secondary(volume: Volume) -> list[str]:
    return sorted(set(os.listdir(volume.secondary)) - {".twinfs"})


def inodes_below(directory: Path) -> dict[str, tuple[int, int]]:
    """Inode and ctime by relative path: copied again, or written to, they would be others."""
    return {
        str(path.relative_to(directory)): (path.lstat().st_ino, path.lstat().st_ctime_ns)
        for path in directory.rglob("*")
    }


def test_a_batch_comes_by_itself_after_the_interval(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1s").init().mount_it()
    (volume.mount / "file").write_text("content")
    wait_until(lambda: names_on_secondary(volume) == ["file"], 15, "no batch")
    wait_until(lambda: volume.status()["state"] == "clean", 15, "the volume did not become clean")
    tree.assert_same(volume.primary, volume.secondary)


def test_pending_and_lag_show_without_a_daemon_and_survive_its_end(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    volume.sync()
    (volume.mount / "file").write_bytes(bytes(1_234_567))
    written = time.time()
    volume.kill()
    for _ in range(2):
        asked = time.time()
        pending = volume.pending()
        assert pending["changes"] > 0
        assert pending["bytes"] == 1_234_567
        assert pending["lag_seconds"] >= asked - written, "counted from a later time than it was written"
        assert "1.2 MiB) on the primary only" in volume.twinfs("status", volume.name, check=False).stdout
        volume.remount()
        assert volume.pending()["lag_seconds"] >= asked - written
        volume.kill()
    volume.remount()
    volume.sync()
    assert volume.pending() == {"changes": 0, "bytes": 0, "lag_seconds": 0.0}


def test_pending_and_lag_show_until_the_batch(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    volume.sync()
    assert volume.pending() == {"changes": 0, "bytes": 0, "lag_seconds": 0.0}
    (volume.mount / "file").write_bytes(bytes(range(256)) * 4096)
    time.sleep(1.2)
    pending = volume.pending()
    assert pending["changes"] > 0
    assert pending["bytes"] >= 1 << 20
    assert 1 <= pending["lag_seconds"] < 60
    assert volume.status()["state"] == "dirty"
    assert names_on_secondary(volume) == []
    volume.sync()
    assert volume.pending() == {"changes": 0, "bytes": 0, "lag_seconds": 0.0}
    assert volume.status()["state"] == "clean"
    assert names_on_secondary(volume) == ["file"]


def test_in_sync_mode_nothing_is_pending_after_close(new_volume) -> None:
    volume: Volume = new_volume("sync").init().mount_it()
    for number in range(50):
        path = volume.mount / f"file{number}"
        path.write_bytes(b"content" * number)
        assert (volume.secondary / path.name).read_bytes() == b"content" * number
        path.chmod(0o600)
        assert (volume.secondary / path.name).stat().st_mode & 0o777 == 0o600
        path.rename(volume.mount / f"renamed{number}")
        assert (volume.secondary / f"renamed{number}").exists()
    assert volume.pending()["bytes"] == 0


def test_a_renamed_directory_of_many_files_is_renamed_on_the_secondary_too(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    (volume.mount / "old/sub").mkdir(parents=True)
    for number in range(300):
        (volume.mount / f"old/sub/file{number}").write_bytes(b"content" * 100)
    (volume.mount / "other").mkdir()
    volume.sync()
    before = inodes_below(volume.secondary / "old/sub")
    os.rename(volume.mount / "old", volume.mount / "other/new")
    assert volume.pending()["bytes"] == 0
    volume.assert_legs_equal()
    assert inodes_below(volume.secondary / "other/new/sub") == before


def test_renames_in_rings_and_exchanges_move_no_data(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    for name in ("a", "b", "c"):
        (volume.mount / name).mkdir()
        (volume.mount / name / "file").write_text(name * 1000)
    volume.sync()
    before = {name: (volume.secondary / name / "file").stat().st_ino for name in ("a", "b", "c")}
    for old, new in (("a", "x"), ("b", "a"), ("c", "b"), ("x", "c")):
        os.rename(volume.mount / old, volume.mount / new)
    volume.assert_legs_equal()
    after = {name: (volume.secondary / name / "file").stat().st_ino for name in ("a", "b", "c")}
    assert after == {"a": before["b"], "b": before["c"], "c": before["a"]}
    assert (volume.secondary / "c/file").read_text() == "a" * 1000


def test_a_file_written_and_deleted_between_two_batches_costs_the_secondary_nothing(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    (volume.mount / "keeps").mkdir()
    volume.sync()
    used = os.statvfs(volume.secondary)
    mtime_ns = volume.secondary.stat().st_mtime_ns
    for number in range(5):
        path = volume.mount / "keeps" / f"temporary{number}"
        path.write_bytes(os.urandom(4 << 20))
        path.rename(path.with_suffix(".renamed"))
        path.with_suffix(".renamed").unlink()
    assert volume.pending()["bytes"] == 0
    volume.assert_legs_equal()
    assert os.listdir(volume.secondary / "keeps") == []
    assert volume.secondary.stat().st_mtime_ns == mtime_ns
    del used


def test_a_file_changed_often_is_copied_as_it_is_in_the_end(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    for version in range(100):
        (volume.mount / "file").write_text(f"version {version}" * 100)
    assert volume.pending()["bytes"] < 10_000
    volume.assert_legs_equal()
    assert (volume.secondary / "file").read_text() == "version 99" * 100


def test_hard_links_stay_hard_links_whenever_they_are_made(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    (volume.mount / "first").write_text("shared")
    os.link(volume.mount / "first", volume.mount / "in-the-same-batch")
    volume.sync()
    os.link(volume.mount / "first", volume.mount / "in-a-later-batch")
    (volume.mount / "first").unlink()
    with open(volume.mount / "in-the-same-batch", "a") as file:
        file.write(" and changed")
    volume.assert_legs_equal()
    ours = [volume.secondary / name for name in ("in-the-same-batch", "in-a-later-batch")]
    assert ours[0].stat().st_ino == ours[1].stat().st_ino
    assert ours[1].read_text() == "shared and changed"


def test_a_sparse_file_stays_sparse_over_batches(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    with open(volume.mount / "sparse", "wb") as file:
        file.truncate(100 << 20)
        file.seek(50 << 20)
        file.write(b"island")
    volume.sync()
    with open(volume.mount / "sparse", "r+b") as file:
        file.seek(90 << 20)
        file.write(b"another")
        file.truncate(120 << 20)
    volume.assert_legs_equal()
    assert (volume.secondary / "sparse").stat().st_blocks * 512 < 1 << 20


def test_a_large_file_changed_in_one_place_is_not_copied_whole(new_volume) -> None:
    """Contents are dirty by range: the rest of the secondary's file keeps its blocks and its inode."""
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    with open(volume.mount / "large", "wb") as file:
        for offset in range(0, 100 << 20, 10 << 20):
            file.seek(offset)
            file.write(b"island")
        file.truncate(100 << 20)  # smaller ones are replaced as a whole, so that there is always a whole one
    volume.sync()
    inode = (volume.secondary / "large").stat().st_ino
    with open(volume.mount / "large", "r+b") as file:
        file.seek(5 << 20)
        file.write(b"changed here")
    assert volume.pending()["bytes"] <= 1 << 20
    volume.assert_legs_equal()
    assert (volume.secondary / "large").stat().st_ino == inode


def test_the_mode_changes_while_mounted(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    (volume.mount / "before").write_text("batched")
    assert names_on_secondary(volume) == []
    volume.twinfs("mode", volume.name, "sync")
    assert volume.status()["mode"] == "sync"
    wait_until(lambda: "before" in names_on_secondary(volume), 15, "what was pending did not go")
    (volume.mount / "during").write_text("sync")
    assert (volume.secondary / "during").read_text() == "sync"
    volume.twinfs("mode", volume.name, "batched", "--interval", "1h")
    assert volume.status()["mode"] == "batched"
    (volume.mount / "after").write_text("batched")
    assert "after" not in names_on_secondary(volume)
    volume.twinfs("mode", volume.name, "batched", "--interval", "1s")
    wait_until(lambda: "after" in names_on_secondary(volume), 15, "the shorter interval did not count")
    volume.assert_legs_equal()
    volume.umount()
    volume.mount_it()
    assert volume.status()["mode"] == "batched"  # and in its settings


def test_the_mode_changes_under_load(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    file = open(volume.mount / "stays-open", "wb")  # noqa: SIM115  over all the changes
    for step in range(12):
        volume.twinfs("mode", volume.name, "sync" if step % 2 else "batched")
        for number in range(40):
            path = volume.mount / f"dir{step % 3}" / f"file{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x" * (number * 100 + step))
            if number % 5 == 0:
                path.rename(volume.mount / f"moved{number}")
        file.write(b"step %d" % step)
        file.flush()
    file.close()
    volume.assert_legs_equal()


def test_at_a_time_of_day_nothing_goes_before_it(new_volume) -> None:
    volume: Volume = new_volume("batched")
    far = time.strftime("%H:%M", time.localtime(time.time() + 12 * 3600))
    volume.init("--at", far).mount_it()
    (volume.mount / "file").write_text("x")
    time.sleep(2)
    assert names_on_secondary(volume) == []
    volume.sync()
    assert names_on_secondary(volume) == ["file"]


def test_batches_go_on_while_writers_do(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="200ms").init().mount_it()
    end = time.monotonic() + 6
    number = 0
    while time.monotonic() < end:
        number += 1
        directory = volume.mount / f"dir{number % 7}"
        directory.mkdir(exist_ok=True)
        (directory / f"file{number % 50}").write_bytes(os.urandom(number % 5000))
        if number % 11 == 0:
            os.rename(directory, volume.mount / f"moved{number}")
        if number % 13 == 0:
            (volume.mount / f"link{number}").symlink_to("x")
    volume.assert_legs_equal()


def test_a_comparison_joins_and_parts_names_of_links_and_fifos(new_volume):
    volume = new_volume("batched").init().mount_it()
    for kind in ("joined", "parted"):
        (volume.mount / kind).mkdir()
        (volume.mount / kind / "link").symlink_to("target")
        os.mkfifo(volume.mount / kind / "fifo")
    for name in ("link", "fifo"):
        os.link(volume.mount / "joined" / name, volume.mount / f"joined/{name}2", follow_symlinks=False)
    (volume.mount / "parted/link2").symlink_to("target")
    os.mkfifo(volume.mount / "parted/fifo2")
    volume.umount()
    beneath = volume.secondary
    for name in ("link", "fifo"):
        (beneath / f"joined/{name}2").unlink()
        (beneath / f"parted/{name}2").unlink()
        os.link(beneath / "parted" / name, beneath / f"parted/{name}2", follow_symlinks=False)
    (beneath / "joined/link2").symlink_to("target")
    os.mkfifo(beneath / "joined/fifo2")
    volume.twinfs("rebuild", volume.name)
    volume.assert_rsync_finds_nothing()
    assert (beneath / "joined/link2").lstat().st_nlink == 2
    assert (beneath / "parted/link2").lstat().st_nlink == 1
    assert (beneath / "parted/fifo2").lstat().st_nlink == 1
