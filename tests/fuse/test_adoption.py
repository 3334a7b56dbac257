"""A mirror that rsync made yesterday becomes a leg: only what differs is copied, nothing is thrown away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tree
from support.faultfs import FaultLayer, Rule
from support.machine import run, tool
from support.volume import Volume, wait_until

_LARGE = 300


def make_yesterday(volume: Volume, files: int = 300, size: int = 3000) -> None:
    """A primary, and the mirror that last night's rsync left."""
    for number in range(files):
        path = volume.primary / f"dir{number % 12}/sub{number % 5}/file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"content of {number} ".encode() * (size // 16))
    os.link(volume.primary / "dir0/sub0/file0", volume.primary / "hard")
    (volume.primary / "link").symlink_to("dir1")
    for number in range(6):
        (volume.primary / f"changes{number}").write_text(f"old {number}")
    run(tool("rsync", "rsync"), "-aHAX", f"{volume.primary}/", f"{volume.secondary}/")


def change_today(volume: Volume) -> None:
    """Every way in which the two may differ by now."""
    primary, secondary = volume.primary, volume.secondary
    (primary / "changes0").write_text("new content, longer")
    (primary / "changes1").unlink()
    (primary / "changes1").mkdir()
    (primary / "changes1/now-a-directory").write_text("x")
    (primary / "changes2").unlink()
    (primary / "changes2").symlink_to("changes3")
    (primary / "changes3").chmod(0o600)
    os.utime(primary / "changes4", ns=(1, 1_000_000_000_000_000_001))
    os.setxattr(primary / "changes5", "user.note", b"added")
    (primary / "brand-new").mkdir()
    (primary / "brand-new/file").write_text("new")
    os.rename(primary / "dir2", primary / "dir2-renamed")
    shutil.rmtree(primary / "dir3")
    (secondary / "only-here").mkdir()
    (secondary / "only-here/precious").write_text("the last copy")
    (secondary / "dir4/sub4/only-here-too").write_text("another last copy")
    (secondary / "not utf-8 \udcff").write_text("odd")
    (secondary / "hard").unlink()
    (secondary / "hard").write_bytes((primary / "hard").read_bytes())


def in_quarantine(volume: Volume) -> dict[str, str]:
    """What quarantine holds, by the end of its path: {"only-here/precious": "the last copy"}."""
    found = {}
    for path in (volume.secondary / ".twinfs/quarantine").glob("*/**/*"):
        if path.is_file() and not path.is_symlink():
            found["/".join(path.relative_to(volume.secondary / ".twinfs/quarantine").parts[1:])] = (
                path.read_text()
            )
    return found


@pytest.mark.parametrize("mode", ("sync", "batched"))
def test_only_what_differs_is_copied_and_nothing_is_lost(new_volume, mode: str) -> None:
    volume: Volume = new_volume(mode)
    make_yesterday(volume)
    change_today(volume)
    primary_before = tree.snapshot(volume.primary)
    same = [volume.secondary / f"dir{number}" for number in (0, 1, 5, 6)]
    inodes = {
        path: path.stat().st_ino for each in same for path in each.rglob("file*") if path.name != "file0"
    }
    volume.init("--adopt").mount_it()
    volume.assert_legs_equal()
    unwanted = tree.differences(
        primary_before, tree.snapshot(volume.primary), ignore=frozenset({"dir_mtime"})
    )
    assert unwanted == []
    assert [str(path) for path, inode in inodes.items() if path.stat().st_ino != inode] == []
    kept = in_quarantine(volume)
    assert kept["only-here/precious"] == "the last copy"
    assert kept["dir4/sub4/only-here-too"] == "another last copy"
    assert kept["not utf-8 \udcff"] == "odd"
    assert any(name.startswith("dir3/") for name in kept)
    assert (volume.mount / "hard").stat().st_nlink == 2


def test_adopting_an_exact_mirror_copies_nothing(new_volume) -> None:
    volume: Volume = new_volume("sync")
    make_yesterday(volume)
    # Symbolic links aside: not every rsync sets their times, and then theirs are set.
    files = [path for path in volume.secondary.rglob("*") if path.is_file() and not path.is_symlink()]
    before = {path: (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in files}
    volume.init("--adopt").mount_it()
    volume.assert_legs_equal()
    assert {path: (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in before} == before
    assert in_quarantine(volume) == {}


def test_an_empty_secondary_takes_over_a_primary_with_data(new_volume) -> None:
    volume: Volume = new_volume("batched")
    make_yesterday(volume)
    shutil.rmtree(volume.secondary)
    volume.secondary.mkdir()
    volume.init().mount_it()
    assert (volume.mount / "dir1/sub1/file1").exists()
    volume.assert_legs_equal()


def test_the_volume_is_used_while_it_is_still_being_copied(new_volume) -> None:
    volume: Volume = new_volume("sync")
    make_yesterday(volume, files=3000)
    shutil.rmtree(volume.secondary)
    volume.secondary.mkdir()
    volume.init().mount_it()
    for number in range(0, 300, 3):
        path = volume.mount / f"dir{number % 12}/sub{number % 5}/file{number}"
        path.write_text("changed while it was copied")
        path.rename(path.with_name(f"renamed{number}"))
    shutil.rmtree(volume.mount / "dir11")
    os.rename(volume.mount / "dir10", volume.mount / "dir9/moved")
    (volume.mount / "new").mkdir()
    (volume.mount / "new/file").write_text("new")
    volume.assert_legs_equal()


def copied_so_far(volume: Volume) -> list[Path]:
    """Files that the secondary has whole, with their time, which is set last."""
    return [
        path
        for path in sorted(volume.secondary.glob("large*"))
        if path.stat().st_mtime_ns == (volume.primary / path.name).stat().st_mtime_ns
    ]


def put_canary(path: Path) -> None:
    """Change a byte, keep size and time: whoever copies the file again kills the canary."""
    info = path.stat()
    with open(path, "r+b") as file:
        file.write(b"canary")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


@pytest.fixture
def slow_secondary(workspace: Path) -> Iterator[FaultLayer]:
    """A leg that takes its time for every file, so that there is something to interrupt on any machine."""
    with FaultLayer(workspace / "beneath", workspace / "slow") as layer:
        layer.add(Rule(("write",), path="*large*", delay_seconds=0.03))
        layer.add(Rule(("write",), path=".twinfs/tmp/*", delay_seconds=0.03))
        yield layer


@pytest.mark.parametrize("end", (signal.SIGINT, signal.SIGKILL), ids=("SIGINT", "SIGKILL"))
@pytest.mark.parametrize("how", ("init --adopt", "sync", "mount --foreground"))
@pytest.mark.deadline(300)
def test_an_interrupted_adoption_goes_on_where_it_was(
    new_volume, slow_secondary: FaultLayer, workspace: Path, how: str, end: signal.Signals
) -> None:
    legs = (workspace / "first", slow_secondary.path)
    volume: Volume = new_volume("batched", interval="1h", legs=legs)
    make_yesterday(volume, files=2)
    (volume.secondary / "only-here").write_text("the last copy")
    for number in range(_LARGE):
        (volume.primary / f"large{number:03}").write_bytes(os.urandom(1 << 10))
    interrupted = start_adoption(volume, how)
    try:
        wait_until(lambda: copied_so_far(volume), 60, "nothing was copied")
        interrupted.send_signal(end)
        if how == "mount --foreground":
            slow_secondary.clear()
        interrupted.communicate(timeout=60)
    finally:
        interrupted.kill()
        interrupted.communicate()
    slow_secondary.clear()
    done = copied_so_far(volume)
    if how == "mount --foreground" and end == signal.SIGINT:
        assert interrupted.returncode == 0
        assert len(done) == _LARGE, "a volume that is asked to end brings its secondary up to date first"
    else:
        assert interrupted.returncode in (130, -end)
        assert 0 < len(done) < _LARGE, "was not interrupted in time"
        put_canary(done[0])
        volume.sync()
        assert done[0].read_bytes().startswith(b"canary"), "copied again"
        shutil.copy2(volume.primary / done[0].name, done[0])
    volume.mount_it().assert_legs_equal()
    assert in_quarantine(volume) == {"only-here": "the last copy"}
    assert os.listdir(volume.secondary / ".twinfs/tmp") == [], "half-copied files were left behind"
    volume.umount()


def start_adoption(volume: Volume, how: str) -> subprocess.Popen[str]:
    """Begin to bring the secondary up to date; the process to interrupt."""
    words = ["init", str(volume.primary), str(volume.secondary), "--name", volume.name, "--adopt"]
    adoption = volume.start_twinfs(*words, "--mode", volume.mode, "--interval", volume.interval)
    if how == "init --adopt":
        return adoption
    wait_until(
        lambda: (volume.base / "config" / f"{volume.name}.toml").exists(), 20, "init wrote no settings"
    )
    adoption.kill()
    adoption.communicate()
    if how == "sync":
        return volume.start_twinfs("sync", volume.name)
    return volume.start_twinfs("mount", volume.name, volume.mount, "--foreground")
