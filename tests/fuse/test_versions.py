"""The undo window, as people use it: what is deleted or replaced comes back as it was."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from support import tree
from support.machine import IS_ROOT, run
from support.volume import Volume

KEEP = 'keep_versions = "30d"'
OLD_NS = 1_400_000_000 * 10**9 + 123_456_789
_NO_ONE = 0xFFFFFFFF


@pytest.fixture(params=["sync", "batched"])
def kept(request: pytest.FixtureRequest, new_volume: Any) -> Volume:
    """A mounted volume that keeps versions, of each mode."""
    volume: Volume = new_volume(request.param).init()
    if "keep_versions =" not in volume.config_file.read_text():
        volume.configure(KEEP)
    volume.configure('leg_timeout = "3m"')
    return volume.mount_it()


def acl() -> bytes:
    entries = [
        (0x01, 7, _NO_ONE),
        (0x02, 5, 4321),
        (0x04, 5, _NO_ONE),
        (0x10, 7, _NO_ONE),
        (0x20, 0, _NO_ONE),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def furnish(top: Path) -> None:
    """A tree with all that a restore has to bring back."""
    for name in ("docs/old", "empty", "photos/2024", "deep/a/b/c"):
        (top / name).mkdir(parents=True)
    (top / "docs/letter.txt").write_text("dear anna")
    (top / "docs/old/large").write_bytes(os.urandom(300_000))
    (top / "docs/none").write_bytes(b"")
    (top / "deep/a/b/c/leaf").write_text("leaf")
    (top / os.fsdecode(b"docs/n\xf6n-utf8")).write_text("odd name")
    for number in range(30):
        (top / f"photos/2024/{number}").write_bytes(b"%d" % number * 100)
    os.link(top / "docs/letter.txt", top / "photos/letter")
    os.link(top / "docs/letter.txt", top / "letter")
    (top / "photos/link").symlink_to("../docs/letter.txt")
    os.mkfifo(top / "photos/pipe", 0o640)
    with open(top / "docs/holes", "wb") as file:
        file.truncate(5 << 20)
        file.seek(3 << 20)
        file.write(b"in the middle")
    os.setxattr(top / "docs/letter.txt", "user.colour", b"red")
    os.setxattr(top / "photos", "user.colour", b"blue")
    os.setxattr(top / "docs/old", "system.posix_acl_access", acl())
    os.setxattr(top / "docs/old", "system.posix_acl_default", acl())
    os.setxattr(top / "docs/old/large", "system.posix_acl_access", acl())
    (top / "docs/old").chmod(0o2770)
    (top / "deep/a/b/c/leaf").chmod(0o4711)
    if IS_ROOT:
        os.chown(top / "photos/2024", 1234, 4321)
        os.chown(top / "photos/2024/7", 1234, 4321)
        os.chown(top / "photos/link", 1234, 4321, follow_symlinks=False)
    for path in [*sorted(top.rglob("*"), reverse=True), top]:
        os.utime(path, ns=(OLD_NS, OLD_NS + len(path.name)), follow_symlinks=False)


def remove_all(top: Path) -> None:
    run("rm", "-rf", *top.iterdir())
    assert os.listdir(top) == []


def local_time() -> str:
    seconds, ns = divmod(time.time_ns(), 10**9)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) + f".{ns // 1000:06d}"


def versions(volume: Volume, path: str = "/") -> list[dict[str, Any]]:
    done = volume.twinfs("versions", volume.name, path, "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_everything_deleted_comes_back_as_it_was(kept: Volume) -> None:
    furnish(kept.mount)
    kept.sync()
    before = tree.snapshot(kept.mount)
    moment = local_time()
    remove_all(kept.mount)
    kept.sync()
    done = kept.twinfs("restore", kept.name, "/", "--at", moment, "--json")
    assert tree.differences(before, tree.snapshot(kept.mount)) == []
    assert json.loads(done.stdout)["lost"] == []
    kept.assert_legs_equal()
    kept.umount()
    assert tree.differences(before, tree.snapshot(kept.primary)) == []
    assert tree.differences(before, tree.snapshot(kept.secondary)) == []


def test_a_deleted_file_is_listed_and_comes_back(kept: Volume) -> None:
    file = kept.mount / "docs/letter"
    file.parent.mkdir()
    file.write_text("dear anna")
    os.utime(file, ns=(OLD_NS, OLD_NS))
    kept.sync()
    file.unlink()
    kept.sync()
    [version] = versions(kept, "docs/letter")
    assert (version["why"], version["kind"], version["size_bytes"]) == ("deleted", "file", 9)
    assert (version["path"], version["mtime_ns"], version["is_kept"]) == ("docs/letter", OLD_NS, True)
    kept.twinfs("restore", kept.name, file)
    assert (file.read_text(), file.stat().st_mtime_ns) == ("dear anna", OLD_NS)
    kept.assert_legs_equal()


def test_a_deleted_directory_comes_back_with_what_was_in_it(kept: Volume) -> None:
    furnish(kept.mount)
    kept.sync()
    before = tree.snapshot(kept.mount / "photos")
    shutil.rmtree(kept.mount / "photos")
    kept.sync()
    kept.twinfs("restore", kept.name, "photos")
    assert tree.differences(before, tree.snapshot(kept.mount / "photos")) == []
    assert (kept.mount / "photos/letter").samefile(kept.mount / "letter"), "it was a name of that file"
    kept.assert_legs_equal()


def test_what_is_there_and_differs_is_never_overwritten_unasked(kept: Volume) -> None:
    file = kept.mount / "file"
    file.write_text("old")
    (kept.mount / "beside").write_text("old, too")
    kept.sync()
    moment = local_time()
    file.unlink()
    (kept.mount / "beside").unlink()
    kept.sync()
    file.write_text("newer")
    done = kept.twinfs("restore", kept.name, "/", "--at", moment, check=False)
    assert done.returncode == 1
    assert "file" in done.stderr
    assert "--force" in done.stderr
    assert (file.read_text(), os.listdir(kept.mount)) == ("newer", ["file"])
    kept.twinfs("restore", kept.name, "/", "--at", moment, "--force")
    assert (file.read_text(), (kept.mount / "beside").read_text()) == ("old", "old, too")
    kept.assert_legs_equal()


def test_an_unmounted_volume_gives_its_versions_too(kept: Volume, tmp_path: Path) -> None:
    furnish(kept.mount)
    kept.sync()
    before = tree.snapshot(kept.mount)
    moment = local_time()
    remove_all(kept.mount)
    kept.umount()
    assert [each for each in versions(kept) if each["path"] == "docs/letter.txt"]
    kept.twinfs("restore", kept.name, "/", "--at", moment, "--to", tmp_path / "then")
    assert tree.differences(before, tree.snapshot(tmp_path / "then")) == []
    assert sorted(os.listdir(kept.primary)) == [".twinfs"]
    kept.twinfs("restore", kept.name, "/", "--at", moment)
    assert tree.differences(before, tree.snapshot(kept.primary)) == []
    assert tree.differences(before, tree.snapshot(kept.secondary)) == []


def write_half_and_kill(volume: Volume, *names: str, flags: int = 0) -> None:
    """New content for the first 80,000 bytes, as far as fsync(2) brings it, and no close(2)."""
    fds = [os.open(volume.mount / name, os.O_WRONLY | flags) for name in names]
    for fd in fds:
        os.write(fd, b"new " * 20_000)
        os.fsync(fd)
    volume.kill()
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
    volume.remount()
    volume.sync()


@pytest.mark.parametrize(("name", "flags"), [("overwritten", 0), ("truncated", os.O_TRUNC)])
@pytest.mark.parametrize("kept", ["sync"], indirect=True)
def test_what_a_kill_cut_short_is_not_kept_as_if_it_had_been_the_file(
    kept: Volume, name: str, flags: int
) -> None:
    """In sync mode. What it was before the truncation was kept then."""
    file = kept.mount / name
    file.write_bytes(b"old " * 50_000)
    kept.sync()
    write_half_and_kill(kept, name, flags=flags)
    found = [(version["why"], version["size_bytes"]) for version in versions(kept)]
    assert found == ([("truncated", 200_000)] if flags else [])
    file.unlink()
    kept.sync()
    assert versions(kept, name)[-1]["why"] == "deleted"
    kept.twinfs("restore", kept.name, name)
    assert file.read_bytes() == b"new " * 20_000 + (b"" if flags else b"old " * 30_000)
    kept.assert_legs_equal()


@pytest.mark.parametrize("kept", ["batched"], indirect=True)
def test_what_a_batch_had_brought_is_kept_though_a_kill_came_before_the_next(kept: Volume) -> None:
    (kept.mount / "file").write_bytes(b"old " * 50_000)
    kept.sync()
    write_half_and_kill(kept, "file")
    [version] = versions(kept)
    assert (version["size_bytes"], version["why"]) == (200_000, "rewritten")
    kept.twinfs("restore", kept.name, "file", "--at", version["at"], "--to", kept.base / "then")
    assert (kept.base / "then").read_bytes() == b"old " * 50_000


@pytest.mark.parametrize("is_at", [False, True])
@pytest.mark.parametrize("kept", ["batched"], indirect=True)
def test_what_the_first_batch_with_versions_takes_away_comes_back(kept: Volume, is_at: bool) -> None:
    """What it brings happened before it kept anything."""
    kept.umount()
    config = kept.config_file.read_text()
    kept.config_file.write_text(config.replace(KEEP, ""))
    kept.mount_it()
    (kept.mount / "folder").mkdir()
    (kept.mount / "folder/file").write_text("dear anna")
    kept.sync()
    kept.umount()
    shutil.rmtree(kept.secondary / ".twinfs/versions", ignore_errors=True)
    kept.config_file.write_text(config)
    kept.mount_it()
    shutil.rmtree(kept.mount / "folder")
    kept.sync()
    at = [version["at"] for version in versions(kept) if version["path"] == "folder/file"]
    kept.twinfs("restore", kept.name, "folder", *(("--at", *at) if is_at else ()))
    assert (kept.mount / "folder/file").read_text() == "dear anna"


def test_where_no_versions_are_kept_restore_says_what_keeps_them(new_volume: Any) -> None:
    volume = new_volume("sync").init().mount_it()
    (volume.mount / "file").write_text("x")
    done = volume.twinfs("restore", volume.name, "file", check=False)
    assert (done.returncode, "no versions are kept; keep_versions =" in done.stderr) == (1, True), done.stderr


def test_bad_times_and_paths_are_refused_with_what_is_understood(kept: Volume) -> None:
    (kept.mount / "file").write_text("x")
    kept.sync()
    for at, code, text in (
        ("last tuesday", 2, "yesterday 18:00"),
        ("2999-01-01", 2, "future"),
        ("3d", 1, "go back to"),
    ):
        done = kept.twinfs("restore", kept.name, "file", "--at", at, check=False)
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr
    done = kept.twinfs("restore", kept.name, "no/such", "--at", local_time(), check=False)
    assert (done.returncode, "was not there" in done.stderr) == (1, True), done.stderr
    done = kept.twinfs("restore", kept.name, "../file", check=False)
    assert done.returncode == 2
