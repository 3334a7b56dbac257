"""`MOUNTPOINT/.twinfs/versions/`: what is kept, to look at and to copy from."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from support.machine import as_other, needs_root, outcome, run
from support.volume import Volume, wait_until

_NAME = re.compile(r"letter@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(-\d+)?\.txt")


@pytest.fixture
def kept(new_volume: Any) -> Volume:
    volume: Volume = new_volume("sync").init()
    if "keep_versions =" not in volume.config_file.read_text():
        volume.configure('keep_versions = "30d"')
    return volume.mount_it()


def listed(directory: Path, count: int) -> list[str]:
    """Once there are so many: what is shown may be a second old."""
    wait_until(
        lambda: directory.is_dir() and len(os.listdir(directory)) == count, 30, f"not {count} in {directory}"
    )
    return sorted(os.listdir(directory))


def test_what_is_kept_is_found_below_the_path_it_had(kept: Volume) -> None:
    ours = kept.mount / ".twinfs/versions"
    assert sorted(os.listdir(kept.mount / ".twinfs")) == ["images", "status", "versions"]
    (kept.mount / "docs/deep").mkdir(parents=True)
    content = os.urandom(400_000)
    for name in ("docs/letter.txt", "docs/deep/plain"):
        (kept.mount / name).write_bytes(content)
    (kept.mount / "docs/link").symlink_to("letter.txt")
    (kept.mount / "docs/letter.txt").chmod(0o640)
    before = (kept.mount / "docs/letter.txt").stat()
    shutil.rmtree(kept.mount / "docs")
    assert listed(ours, 1) == ["docs"]
    names = listed(ours / "docs", 3)
    letter = next(name for name in names if name.startswith("letter"))
    assert _NAME.fullmatch(letter)
    after = (ours / "docs" / letter).stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert (after.st_uid, stat.S_IMODE(after.st_mode)) == (before.st_uid, 0o440)
    assert (ours / "docs" / letter).read_bytes() == content
    link = next(name for name in names if name.startswith("link"))
    assert os.readlink(ours / "docs" / link) == "letter.txt"
    [plain] = listed(ours / "docs/deep", 1)
    run("cp", ours / "docs/deep" / plain, kept.mount / "back")
    assert (kept.mount / "back").read_bytes() == content
    kept.assert_legs_equal()


def test_nothing_can_be_changed_there_and_nothing_walks_into_it(kept: Volume) -> None:
    (kept.mount / "letter.txt").write_text("x")
    (kept.mount / "letter.txt").unlink()
    ours = kept.mount / ".twinfs/versions"
    [name] = listed(ours, 1)
    answers = [
        outcome(os.unlink, ours / name),
        outcome(os.mkdir, ours / "new"),
        outcome(os.open, ours / name, os.O_WRONLY),
        outcome(os.rename, ours / name, kept.mount / "x"),
        outcome(os.truncate, ours / name, 0),
    ]
    assert {answer for answer, _ in answers} == {"EROFS"}, answers
    assert run("find", kept.mount).stdout.split() == [str(kept.mount)]


@needs_root
def test_nobody_sees_there_what_they_could_not_see_before(kept: Volume) -> None:
    secret = kept.mount / "private"
    secret.mkdir(mode=0o700)
    (secret / "open-to-all").write_text("secret")
    (secret / "open-to-all").chmod(0o644)
    (kept.mount / "mine").write_text("mine")
    (kept.mount / "mine").chmod(0o600)
    (kept.mount / "all").write_text("for all")
    for name in ("mine", "all"):
        (kept.mount / name).unlink()
    shutil.rmtree(secret)
    ours = kept.mount / ".twinfs/versions"
    names = listed(ours, 3)
    everything = next(name for name in names if name.startswith("all"))
    mine = next(name for name in names if name.startswith("mine"))
    assert as_other(lambda: (ours / everything).read_text()) == "for all"
    assert as_other(lambda: outcome(os.open, ours / mine, os.O_RDONLY))[0] == "EACCES"
    assert as_other(lambda: outcome(os.listdir, ours / "private"))[0] == "EACCES"
