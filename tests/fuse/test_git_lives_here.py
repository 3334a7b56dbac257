"""git clones, switches branches, commits and packs on the volume, and finds nothing broken."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support import tree
from support.machine import run, tool
from support.volume import Volume

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.org",
    "GIT_COMMITTER_NAME": "Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def git(directory: Path, *words: str) -> str:
    return run(tool("git", "git"), "-C", directory, *words, env=_IDENTITY).stdout


@pytest.fixture(scope="module")
def origin(module_workspace: Path) -> Path:
    """A repository on an ordinary file system: branches that add, remove, rename and chmod many files."""
    repository = module_workspace / "origin"
    if repository.exists():
        return repository
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    rng = random.Random(99)
    for number in range(400):
        path = repository / f"dir{number % 23}/sub{number % 7}/file{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(str(rng.random()) for _ in range(rng.randrange(1, 200))))
    (repository / "script.sh").write_text("#!/bin/sh\necho hello\n")
    (repository / "script.sh").chmod(0o755)
    (repository / "link").symlink_to("dir1/sub1")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "first")
    git(repository, "checkout", "-qb", "other")
    git(repository, "mv", "dir1", "renamed")
    git(repository, "rm", "-rq", "dir2", "link")
    (repository / "link").mkdir()
    (repository / "link/now-a-directory").write_text("x")
    (repository / "script.sh").chmod(0o644)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "other")
    git(repository, "checkout", "-q", "main")
    return repository


def test_a_clone_is_sound_and_switches_branches(place: Path, origin: Path) -> None:
    git(place, "clone", "-q", "--no-hardlinks", str(origin), "clone")
    clone = place / "clone"
    git(clone, "fsck", "--strict", "--full")
    for branch in ("other", "main", "other", "main"):
        git(clone, "checkout", "-q", branch)
        assert git(clone, "status", "--porcelain") == ""
    tree.assert_same(origin / "dir3", clone / "dir3", ignore=frozenset({"mtime_ns"}))
    assert (clone / "link").is_symlink()


def test_commits_merges_stashes_and_packing_leave_a_sound_repository(place: Path, origin: Path) -> None:
    git(place, "clone", "-q", str(origin), "clone")
    clone = place / "clone"
    for number in range(10):
        (clone / f"new{number}").write_text(f"{number}\n" * 100)
        git(clone, "add", "-A")
        git(clone, "commit", "-qm", f"commit {number}")
    git(clone, "merge", "-qm", "merged", "origin/other")
    (clone / "new1").write_text("changed, stashed away and brought back")
    git(clone, "stash")
    git(clone, "stash", "pop")
    git(clone, "worktree", "add", "-q", "../second", "HEAD~3")
    git(clone, "gc", "-q", "--prune=now")
    git(clone, "fsck", "--strict", "--full")
    assert git(clone, "status", "--porcelain").split() == ["M", "new1"]


def test_status_after_a_remount_knows_its_files_again(new_volume, origin: Path) -> None:
    """git compares inodes and times with its index: if a remount changed them, every file were read anew.

    Not the ctime: the kernel keeps its own while it caches writes, and a file system cannot set one.
    """
    volume: Volume = new_volume("batched").init().mount_it()
    git(volume.mount, "clone", "-q", str(origin), "clone")
    clone = volume.mount / "clone"
    assert git(clone, "status", "--porcelain") == ""
    before = {path: path.stat().st_ino for path in clone.rglob("*.txt")}
    volume.umount()
    volume.mount_it()
    assert {path: path.stat().st_ino for path in clone.rglob("*.txt")} == before
    assert (
        git(clone, "-c", "core.trustctime=false", "diff-files", "--name-only") == ""
    )  # unlike status, it does not refresh the index
    volume.assert_legs_equal()
