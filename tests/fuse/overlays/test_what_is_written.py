"""Images mounted with an overlay: what is written is there, and the image is as it was."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path

from fuse.overlays.making import OLD_ONLY, REMADE, WANTS, ext4, extracted
from support import tree
from support.images import MIB
from support.machine import needs_root, outcome, run
from support.mounted_image import make_fat, unmount
from support.odd_tree import SECOND
from support.volume import twinfs_command

pytestmark = needs_root  # for owners and nodes in the images


def change_much(root: Path) -> None:
    """The same calls on a mount and on a plain copy. Names as bytes."""
    base = os.fsencode(root)
    with open(root / "large", "r+b") as file:
        file.seek(100_000)
        file.write(b"changed in the middle")
        file.truncate(2_000_000)
        file.seek(2_500_000)
        file.write(b"beyond a hole")
    (root / "small").write_text("cut and written\n")
    with open(root / "holes", "ab") as file:
        file.write(b"appended")
    os.link(root / "third_name", root / "fourth_name")
    os.unlink(root / "dir" / "second_name")
    os.rename(root / "deep" / "d", root / "moved")
    os.mkdir(root / "deep" / "d")
    (root / "deep" / "d" / "new").write_bytes(b"in a directory of the same name")
    os.rename(root / "empty", root / "one_block")
    os.rename(base + b"/names/\xff\xfe raw \x80", base + b"/names/\xfd\nother")
    os.symlink(b"\xff\xfe", base + b"/names/link")
    for number in range(0, WANTS.entries, 2):
        os.unlink(root / "many" / f"entry number {number:05d}.txt")
    run("rm", "-rf", root / "moved" / "d")
    os.chmod(root / "holes", 0o604)
    os.chown(root / "short_link", 7, 8, follow_symlinks=False)
    os.utime(root / "holes", ns=(5 * SECOND + 1, 6 * SECOND + 2))
    os.setxattr(root / "dir", "user.new", b"\0value")
    os.removexattr(root / "large", "trusted.secret")
    os.mkfifo(root / "names" / "fifo")
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.utime(root / "large", ns=(SECOND, SECOND))


def test_the_same_calls_end_equal_on_a_plain_copy(overlaid, image, overlay, workspace):
    plain = extracted(image, workspace / "plain")
    mounted = overlaid()
    for root in (plain, mounted.path / "p0"):
        change_much(root)
    tree.assert_same(plain, mounted.path / "p0", ignore=OLD_ONLY)
    unmount(mounted, overlay)

    again = overlaid()
    tree.assert_same(plain, again.path / "p0", ignore=OLD_ONLY)
    unmount(again, overlay)

    copied = extracted(image, workspace / "changed", "--overlay", overlay)
    tree.assert_same(plain, copied, ignore=REMADE)
    made = ext4(workspace / "new.img", copied)
    tree.assert_same(copied, extracted(made, workspace / "of_new"), ignore=REMADE)


def test_only_what_was_written_is_held(overlaid, overlay, workspace, mount):
    (workspace / "source").mkdir()
    (workspace / "source" / "file").write_bytes(os.urandom(20 * MIB))
    whole = ext4(workspace / "large.img", workspace / "source")
    held = workspace / "held"
    mounted = mount(whole, words=("--overlay", held))
    with open(mounted.path / "p0" / "file", "r+b") as file:
        file.seek(10 * MIB)
        file.write(b"x")
    [line] = run(*twinfs_command(), "image", "changes", held, "--json").stdout.splitlines()
    assert 0 < json.loads(line)["held_bytes"] <= MIB
    unmount(mounted, held)


def test_a_mapped_file_is_written(overlaid, overlay):
    path = overlaid().path / "p0" / "large"
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[70_000:70_005] = b"mmap!"
        mapped.flush()
    assert path.read_bytes()[70_000:70_005] == b"mmap!"


def test_names_that_differ_in_case_are_two_names(mount, overlay, workspace):
    image = make_fat(workspace / "fat", b"of the image")
    mounted = mount(image, words=("--overlay", overlay))
    top = mounted.path / "p0"
    os.unlink(top / "file.txt")
    assert outcome(os.stat, top / "FILE.TXT") == ("ENOENT", None)
    (top / "FILE.TXT").write_text("new")
    unmount(mounted, overlay)
    again = mount(image, words=("--overlay", overlay))
    assert os.listdir(again.path / "p0") == ["FILE.TXT"]
    unmount(again, overlay)


def test_what_is_no_file_system_cannot_be_written(overlaid):
    mnt = overlaid().path
    for attempt in (
        lambda: os.open(mnt / "disk.img", os.O_RDWR),
        lambda: os.truncate(mnt / "disk.img", 0),
        lambda: os.mkdir(mnt / "new"),
        lambda: os.rename(mnt / "p0", mnt / "p1"),
        lambda: os.chmod(mnt / "disk.img", 0o777),
    ):
        assert outcome(attempt) == ("EROFS", None)
