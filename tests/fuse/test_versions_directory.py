"""`MOUNTPOINT/.twinfs/versions/`: what is kept, to look at and to copy from."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from support.machine import OTHER_GID, OTHER_UID, as_other, in_child, needs_root, outcome, run
from support.volume import Volume, wait_until
from twinfs.fsio.syscalls import RENAME_EXCHANGE, renameat2

_NAME = re.compile(r"letter@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(-\d+)?\.txt")


@pytest.fixture
def kept(new_volume: Any) -> Volume:
    volume: Volume = new_volume("sync").init()
    if "keep_versions =" not in volume.config_file.read_text():
        volume.configure('keep_versions = "30d"')
    volume.mount_it()
    # What goes while the legs are still compared was never whole on the secondary.
    volume.sync()
    return volume


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


def test_a_link_in_a_directory_s_place_hides_nothing_that_was_below_it(kept: Volume) -> None:
    (kept.mount / "d/below").mkdir(parents=True)
    (kept.mount / "d/below/file").write_text("x")
    shutil.rmtree(kept.mount / "d")
    (kept.mount / "d").symlink_to("/")
    [name] = listed(kept.mount / ".twinfs/versions/d/below", 1)
    assert (kept.mount / ".twinfs/versions/d/below" / name).read_text() == "x"


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


GROUP = 4321


def can_read(path: Path, *, uid: int = OTHER_UID, gid: int = OTHER_GID) -> bool:
    return in_child(lambda: outcome(os.open, path, os.O_RDONLY)[0], uid=uid, gid=gid) == "ok"


@needs_root
def test_an_acl_s_mask_is_not_taken_for_what_the_group_may(kept: Volume) -> None:
    """With an ACL the group's bits of the mode are its mask, see acl(5): here the group itself has nothing,
    and one user less than all others."""
    (kept.mount / "d").mkdir()
    for path in (kept.mount / "d/file", kept.mount / "d"):
        path.touch()
        os.chown(path, -1, GROUP)
        path.chmod(0o705)
        run("setfacl", "-m", f"u:1111:rx,g::-,u:{OTHER_UID}:-", path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    (kept.mount / "d/plain").write_text("for all")
    refused = ({"uid": 2222, "gid": GROUP}, {"uid": OTHER_UID})
    assert [can_read(kept.mount / "d/file", **who) for who in refused] == [False, False]
    for name in ("file", "plain"):
        (kept.mount / "d" / name).unlink()
    ours = kept.mount / ".twinfs/versions"
    listed(ours, 1)
    names = listed(ours / "d", 2)
    for name in names:
        assert [can_read(ours / "d" / name, **who) for who in refused] == [False, False]
    assert stat.S_IMODE((ours / "d").stat().st_mode) == 0o500
    (kept.mount / "d").rmdir()
    wait_until(lambda: stat.S_IMODE((ours / "d").stat().st_mode) == 0o500, 5, "the mode of then")
    assert stat.S_IMODE((ours / "d" / names[0]).stat().st_mode) == 0o400
    for name in names:
        assert [can_read(ours / "d" / name, **who) for who in refused] == [False, False]


@needs_root
@pytest.mark.parametrize("how", ["removed", "renamed", "exchanged"])
def test_a_new_directory_of_that_name_opens_nothing_that_was_in_the_old_one(kept: Volume, how: str) -> None:
    old = kept.mount / "d"
    old.mkdir(mode=0o700)
    (old / "secret").write_text("secret")
    (old / "secret").unlink()
    if how == "removed":
        old.rmdir()
    elif how == "renamed":
        old.rename(kept.mount / "elsewhere")
    else:
        (kept.mount / "other").mkdir()
        renameat2(os.fsencode(kept.mount / "other"), os.fsencode(old), -100, -100, RENAME_EXCHANGE)
    old.mkdir(exist_ok=True)
    old.chmod(0o755)
    (old / "new").write_text("for all")
    (old / "new").unlink()
    ours = kept.mount / ".twinfs/versions"
    listed(ours, 1)
    [secret] = [name for name in listed(ours / "d", 2) if name.startswith("secret")]
    assert not can_read(ours / "d" / secret)
