"""Real programs change what is in an image with an overlay."""

from __future__ import annotations

import os
import re
import sqlite3

from support.machine import NOBODY_UID, needs_root, run
from support.mounted_image import unmount, user_of
from support.volume import as_user_prefix, twinfs_command, wait_until

pytestmark = needs_root  # for owners and nodes in the images


def test_programs_work_in_it_and_what_they_made_is_sound(overlaid, overlay, workspace):
    mounted = overlaid()
    top = mounted.path / "p0"
    run("tar", "-C", top, "-cf", workspace / "some.tar", "names", "dir", "many")
    (top / "unpacked").mkdir()
    run("tar", "-C", top / "unpacked", "--xattrs", "-xpf", workspace / "some.tar")
    run("cp", "-a", top / "unpacked", top / "copied")
    run("diff", "-r", "--no-dereference", top / "names", top / "copied" / "names")
    run("sed", "-i", "s/content/matter/", top / "small")
    run("git", "init", "-q", top / "copied")
    run("git", "-C", top / "copied", "add", "many")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    run("git", "-C", top / "copied", *who, "commit", "-q", "-m", "all")
    run("git", "-C", top / "copied", "fsck", "--strict")
    with sqlite3.connect(top / "base.db") as database:
        database.execute("CREATE TABLE t (v)")
        database.executemany("INSERT INTO t VALUES (?)", ((str(number),) for number in range(2000)))
    database.close()
    run("rm", "-rf", top / "unpacked", top / "many")
    unmount(mounted, overlay)

    top = overlaid().path / "p0"
    assert (top / "small").read_text() == "small matter\n"
    assert not run("git", "-C", top / "copied", "status", "--porcelain", "many").stdout
    run("git", "-C", top / "copied", "fsck", "--strict")
    with sqlite3.connect(top / "base.db") as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (2000,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert not (top / "many").exists()


def test_an_ordinary_user_changes_owners_too(mount, image, workspace):
    os.chmod("/dev/fuse", 0o666)
    for place in (workspace, image.parent):
        os.chmod(place, 0o777)
    for name in ("mnt", "overlay"):
        (workspace / name).mkdir()
        os.chown(workspace / name, NOBODY_UID, NOBODY_UID)
    prefix = as_user_prefix(NOBODY_UID)
    overlay = workspace / "overlay"
    mounted = mount(image, prefix=prefix, words=("--overlay", overlay))
    top = mounted.path / "p0"
    script = f"cd {top} && echo new > small && mkdir d && mv large d && rm -rf many && chown 5:6 d && ls -ln"
    listed = run(*prefix, "sh", "-c", script).stdout
    assert re.search(r" 5 +6 .* d$", listed, re.MULTILINE)
    assert run(*prefix, "cat", top / "small").stdout == "new\n"
    run(*prefix, "fusermount3", "-u", mounted.path)
    wait_until(lambda: user_of(overlay) is None, 60, "still in use")
    run(*prefix, *twinfs_command(), "image", "ls", "--overlay", overlay, image, "/p0/d/large")
