"""tar, rsync and cp carry a real tree in; what comes out is what went in, on the volume and on both legs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tree
from support.machine import run, tool
from support.volume import Volume

_MOST_BYTES = 30 << 20
_MOST_FILES = 2500
# Two extractions happen at different times; what was archived is older than both.
_NO_BLOCKS = frozenset({"blocks"})


def some_of_usr_share() -> list[str]:
    """Names of directories below /usr/share, as many as stay within the bounds."""
    chosen: list[str] = []
    total_bytes = total_files = 0
    for entry in sorted(os.scandir("/usr/share"), key=lambda entry: entry.name):
        if not entry.is_dir(follow_symlinks=False):
            continue
        sizes = [path.lstat().st_size for path in Path(entry.path).rglob("*")]
        if total_bytes + sum(sizes) < _MOST_BYTES and total_files + len(sizes) < _MOST_FILES:
            chosen.append(entry.name)
            total_bytes += sum(sizes)
            total_files += len(sizes)
    return chosen


@pytest.fixture(scope="module")
def plain_tree(module_workspace: Path) -> Path:
    """A part of /usr/share on an ordinary file system, with hard links, holes and odd modes added."""
    directory = module_workspace / "share"
    if directory.exists():
        return directory
    directory.mkdir()
    archive = module_workspace / "share.tar"
    run("tar", "--format=pax", "-cf", archive, "-C", "/usr/share", *some_of_usr_share())
    run("tar", "-xpf", archive, "-C", directory)
    archive.unlink()
    extra = directory / "extra"
    extra.mkdir()
    (extra / "one").write_text("hard linked")
    for name in ("two", "three"):
        os.link(extra / "one", extra / name)
    with open(extra / "sparse", "wb") as file:
        file.truncate(30 << 20)
        file.seek(20 << 20)
        file.write(b"island")
    (extra / "setgid").mkdir()
    (extra / "setgid").chmod(0o2775)
    os.setxattr(extra / "one", "user.note", b"an attribute")
    os.mkfifo(extra / "fifo")
    os.utime(extra / "one", ns=(1, 1_234_567_890_123_456_789))
    os.utime(extra, ns=(1, 987_654_321_987_654_321))
    return directory


def test_tar_extracts_a_tree_that_is_equal_in_everything(
    place: Path, plain_tree: Path, module_workspace: Path
) -> None:
    archive = module_workspace / "in.tar"
    words = ("--format=pax", "--sparse", "--xattrs", "--acls")
    run(tool("tar", "tar"), *words, "-cf", archive, "-C", plain_tree, ".")
    run("tar", "--xattrs", "--acls", "-xpf", archive, "-C", place)
    tree.assert_same(plain_tree, place, ignore=_NO_BLOCKS)


def test_tar_reads_back_what_is_on_the_disks(new_volume, plain_tree: Path, workspace: Path) -> None:
    """After a remount nothing comes from the kernel's cache."""
    volume: Volume = new_volume("sync").init().mount_it()
    run("cp", "-a", f"{plain_tree}/.", volume.mount)
    volume.umount()
    volume.mount_it()
    archive, out = workspace / "out.tar", workspace / "out"
    out.mkdir()
    run("tar", "--format=pax", "--xattrs", "--acls", "-cf", archive, "-C", volume.mount, ".")
    run("tar", "--xattrs", "--acls", "-xpf", archive, "-C", out)
    tree.assert_same(plain_tree, out, ignore=_NO_BLOCKS)
    tree.assert_same(plain_tree, volume.mount, ignore=_NO_BLOCKS)
    volume.assert_legs_equal()


def test_a_second_rsync_moves_nothing(place: Path, plain_tree: Path) -> None:
    command = (tool("rsync", "rsync"), "-aHAXSi", "--delete")
    assert run(*command, f"{plain_tree}/", f"{place}/").stdout
    assert run(*command, f"{plain_tree}/", f"{place}/").stdout == ""
    assert run(*command, "-c", f"{plain_tree}/", f"{place}/").stdout == ""
    tree.assert_same(plain_tree, place, ignore=_NO_BLOCKS)


def test_rsync_updates_in_place_appends_and_deletes(place: Path, workspace: Path) -> None:
    source = workspace / "source"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(4 << 20))
    (source / "gone").write_text("x")
    run("rsync", "-a", f"{source}/", f"{place}/")
    with open(source / "big", "r+b") as file:
        file.seek(1 << 20)
        file.write(b"changed in the middle")
        file.seek(0, os.SEEK_END)
        file.write(b"and longer")
    (source / "gone").unlink()
    (source / "gone").mkdir()
    run(
        "rsync",
        "-a",
        "--modify-window=-1",
        "--inplace",
        "--no-whole-file",
        "--delete",
        f"{source}/",
        f"{place}/",
    )
    tree.assert_same(source, place)


@pytest.mark.parametrize("sparse", ("always", "auto", "never"))
def test_cp_with_reflink_auto_and_every_kind_of_sparse(place: Path, plain_tree: Path, sparse: str) -> None:
    run("cp", "-a", "--reflink=auto", f"--sparse={sparse}", plain_tree / "extra", place / "copy")
    run("cp", "-a", "--reflink=auto", f"--sparse={sparse}", place / "copy", place / "copy of the copy")
    for name in ("copy", "copy of the copy"):
        tree.assert_same(plain_tree / "extra", place / name, ignore=_NO_BLOCKS)
    if sparse == "always":
        assert (place / "copy of the copy/sparse").stat().st_blocks * 512 < 1 << 20


def test_a_farm_of_hard_links_is_made_changed_and_removed(shared_volume: Volume, place: Path) -> None:
    """As backup programs keep generations: cp -al, then files replaced, then the oldest removed."""
    first = place / "generation1"
    for number in range(200):
        path = first / f"dir{number % 10}" / f"file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content {number}")
    run("cp", "-al", first, place / "generation2")
    run("cp", "-al", place / "generation2", place / "generation3")
    for number in range(0, 200, 5):
        path = place / f"generation3/dir{number % 10}/file{number}"
        path.unlink()
        path.write_text("replaced")
    shared_volume.sync()
    assert (shared_volume.secondary / place.name / "generation2/dir1/file1").stat().st_nlink == 3
    run("rm", "-rf", first)
    shared_volume.sync()
    assert (shared_volume.secondary / place.name / "generation2/dir1/file1").stat().st_nlink == 2
    assert (place / "generation2/dir0/file0").read_text() == "content 0"


def walk_down(directory: Path) -> Iterator[Path]:
    yield from sorted(directory.rglob("*"))


def test_mv_from_another_file_system_and_rm_leave_the_directory_empty(place: Path, plain_tree: Path) -> None:
    run("cp", "-a", plain_tree / "extra", "/dev/shm/twinfs-test-mv")
    run("mv", "/dev/shm/twinfs-test-mv", place / "moved")
    names = [path.name for path in walk_down(place / "moved")]
    assert names == [path.name for path in walk_down(plain_tree / "extra")]
    run("rm", "-rf", place / "moved")
    assert os.listdir(place) == []
