"""Editors save by rename; fio writes, maps and verifies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.machine import run, tool
from support.parity import look
from support.volume import Volume


def save_like_an_editor(path: Path, text: str) -> None:
    """As gedit, emacs and most others: a new file with the old one's mode, durable, renamed over it."""
    new = path.with_name(f".{path.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, text.encode())
    os.fchmod(fd, path.stat().st_mode & 0o7777)
    os.fsync(fd)
    os.close(fd)
    os.rename(new, path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def test_saving_by_rename_again_and_again(shared_volume: Volume, place: Path) -> None:
    path = place / "letter.txt"
    path.write_text("version 0")
    path.chmod(0o640)
    reader = os.open(path, os.O_RDONLY)
    for version in range(1, 50):
        save_like_an_editor(path, f"version {version}")
        assert path.read_text() == f"version {version}"
    assert os.pread(reader, 50, 0) == b"version 0"
    os.close(reader)
    assert os.listdir(place) == ["letter.txt"]
    assert look(path)["mode"] == "-rw-r-----"
    shared_volume.sync()
    assert (shared_volume.secondary / place.name / "letter.txt").read_text() == "version 49"


def test_saving_with_a_backup_by_rename_and_by_hard_link(place: Path) -> None:
    """As vim with `backup`: the old inode becomes letter~, a new one takes the name."""
    path, backup = place / "letter.txt", place / "letter.txt~"
    path.write_text("old")
    old_inode = path.stat().st_ino
    os.rename(path, backup)
    path.write_text("new")
    assert (backup.read_text(), path.read_text(), backup.stat().st_ino) == ("old", "new", old_inode)
    backup.unlink()
    os.link(path, backup)
    save_like_an_editor(path, "newer")
    assert (backup.read_text(), path.read_text()) == ("new", "newer")
    assert backup.stat().st_nlink == 1


def test_sed_in_place_and_a_shell_s_appending_redirection(place: Path) -> None:
    run("sh", "-c", "for i in $(seq 200); do echo line $i >> log; done; sed -i s/line/LINE/ log", cwd=place)
    assert (place / "log").read_text() == "".join(f"LINE {number}\n" for number in range(1, 201))


@pytest.mark.parametrize(
    "job",
    (
        "--rw=randwrite --bsrange=512-100k --bs_unaligned=1 --size=16m --ioengine=psync --fsync=50",
        "--rw=randwrite --bs=4k --size=8m --ioengine=mmap --numjobs=2",
        "--rw=write --bs=1m --size=24m --ioengine=psync --end_fsync=1",
        "--rw=randrw --bsrange=512-64k --size=8m --ioengine=psync --numjobs=2 --overwrite=1",
        "--rw=randwrite --bs=4k --size=4m --ioengine=libaio --direct=1 --iodepth=8",
    ),
    ids=("odd sizes with fsync", "mmap", "sequential", "read and write", "direct and asynchronous"),
)
def test_fio_reads_back_what_it_wrote(place: Path, job: str) -> None:
    run(
        tool("fio", "fio"),
        "--name=job",
        f"--directory={place}",
        "--verify=crc32c",
        "--verify_fatal=1",
        "--do_verify=1",
        "--randseed=7",
        "--fallocate=none",
        "--verify_state_save=0",  # else fio leaves a file where the tests were started
        *job.split(),
    )


def test_fio_verifies_its_files_on_the_secondary(shared_volume: Volume, place: Path) -> None:
    words = ("--name=job", "--verify=crc32c", "--rw=randwrite", "--bs=4k", "--size=8m", "--randseed=7")
    words += ("--verify_state_save=0",)
    run(tool("fio", "fio"), *words, f"--directory={place}", "--do_verify=0")
    shared_volume.sync()
    for leg in (shared_volume.primary, shared_volume.secondary):
        run("fio", *words, f"--directory={leg / place.name}", "--verify_only", "--verify_fatal=1")
