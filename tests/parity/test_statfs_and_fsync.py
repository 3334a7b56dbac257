"""Free space, and making things durable."""

from __future__ import annotations

import os
from pathlib import Path

from support.machine import outcome, run
from support.parity import Pair, parity


def test_statfs_of_two_legs_on_one_file_system_is_that_file_system_s(pair: Pair) -> None:
    ours, theirs = os.statvfs(pair.volume), os.statvfs(pair.twins.primary)
    assert (ours.f_bsize, ours.f_frsize, ours.f_namemax) == (
        theirs.f_bsize,
        theirs.f_frsize,
        theirs.f_namemax,
    )
    assert (ours.f_blocks, ours.f_files) == (theirs.f_blocks, theirs.f_files)
    assert abs(ours.f_bavail - theirs.f_bavail) * ours.f_frsize < 1 << 30
    assert ours.f_bavail <= ours.f_bfree


@parity
def test_fsync_of_files_and_directories(root: Path) -> object:
    (root / "dir").mkdir()
    fd = os.open(root / "dir/file", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"durable")
    seen = [outcome(os.fsync, fd), outcome(os.fdatasync, fd)]
    reader = os.open(root / "dir/file", os.O_RDONLY)
    directory = os.open(root / "dir", os.O_RDONLY)
    seen += [outcome(os.fsync, reader), outcome(os.fsync, directory), outcome(os.fdatasync, directory)]
    for each in (fd, reader, directory):
        os.close(each)
    return seen


@parity
def test_the_whole_file_system_is_synced_with_syncfs(root: Path) -> object:
    (root / "file").write_text("content")
    return run("sync", "-f", root / "file").returncode


def test_after_fsync_the_primary_holds_the_content_while_the_file_is_open(pair: Pair) -> None:
    fd = os.open(pair.volume / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"fsynced")
    os.fsync(fd)
    legs = [leg / pair.name / "file" for leg in (pair.twins.primary, pair.twins.secondary)]
    assert legs[0].read_bytes() == b"fsynced"
    if pair.twins.mode == "sync":
        assert legs[1].read_bytes() == b"fsynced"
    os.write(fd, b" and more")
    os.close(fd)
    assert legs[0].read_bytes() == b"fsynced and more"
    if pair.twins.mode == "sync":
        assert legs[1].read_bytes() == b"fsynced and more"


@parity
def test_df_and_stat_understand_the_volume(root: Path) -> object:
    run("df", "-P", root)
    return run("stat", "-f", "-c", "%l", root).stdout
