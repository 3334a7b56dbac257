"""Changing sizes; holes; files larger than any disk."""

from __future__ import annotations

import os
from pathlib import Path

from support.machine import outcome
from support.parity import Pair, look, parity, parity_of_results
from support.tree import digest_at

TB = 1 << 40


@parity
def test_truncate_by_path_shrinks_and_extends_with_zeros(root: Path) -> object:
    (root / "file").write_bytes(b"x" * 10_000)
    seen = []
    for size in (5000, 9000, 9000, 0, 1, 123_456):
        os.truncate(root / "file", size)
        seen.append((look(root / "file"), (root / "file").read_bytes()))
    return seen


@parity
def test_ftruncate_while_writes_are_still_cached(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    seen = []
    for size in (100, 70_000, 3, 4096, 0, 9):
        os.pwrite(fd, b"y" * 50_000, 0)
        os.ftruncate(fd, size)
        seen.append((os.fstat(fd).st_size, hash(os.pread(fd, 100_000, 0))))
    os.close(fd)
    return seen


@parity
def test_truncate_through_one_descriptor_is_seen_by_the_other(root: Path) -> object:
    first = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    second = os.open(root / "file", os.O_RDWR)
    os.write(first, b"0123456789")
    os.ftruncate(second, 4)
    seen = [os.pread(first, 20, 0), os.fstat(first).st_size]
    os.write(first, b"after")  # at offset 10: a hole arises
    seen += [os.pread(second, 20, 0), os.fstat(second).st_size]
    os.close(first)
    os.close(second)
    return seen


@parity
def test_truncate_errors(root: Path) -> object:
    (root / "dir").mkdir()
    (root / "file").touch()
    (root / "dangling").symlink_to("nowhere")
    cases = (("missing", 0), ("dir", 0), ("file", -1), ("dangling", 5), ("file/x", 0))
    return [outcome(os.truncate, root / name, size) for name, size in cases]


@parity
def test_truncate_of_a_read_only_descriptor(root: Path) -> object:
    (root / "file").write_bytes(b"keep")
    fd = os.open(root / "file", os.O_RDONLY)
    answer = outcome(os.ftruncate, fd, 1)
    os.close(fd)
    return answer, (root / "file").read_bytes()


@parity
def test_shrunk_and_extended_again_shows_zeros_not_old_bytes(root: Path) -> object:
    (root / "file").write_bytes(b"secret" * 2000)
    os.truncate(root / "file", 10)
    os.truncate(root / "file", 12_000)
    return (root / "file").read_bytes()


@parity_of_results
def test_a_file_of_5_tb_written_at_its_end(root: Path) -> object:
    fd = os.open(root / "huge", os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, 5 * TB)
    os.pwrite(fd, b"the end", 5 * TB - 7)
    os.pwrite(fd, b"middle", 3 * TB)
    os.fsync(fd)
    seen = (
        os.fstat(fd).st_size,
        os.pread(fd, 100, 5 * TB - 7),
        os.pread(fd, 10, 3 * TB - 2),
        os.pread(fd, 9, 0),
    )
    os.close(fd)
    return seen, look(root / "huge")


def test_a_file_of_5_tb_reaches_both_legs_as_a_sparse_file(pair: Pair) -> None:
    file = pair.volume / "huge"
    with open(file, "wb") as out:
        out.truncate(5 * TB)
        out.seek(4 * TB + 12_345)
        out.write(b"data" * 10_000)
    pair.twins.sync()
    first, second = (leg / pair.name / "huge" for leg in (pair.twins.primary, pair.twins.secondary))
    assert first.stat().st_size == second.stat().st_size == 5 * TB
    assert digest_at(None, first) == digest_at(None, second)
    assert second.stat().st_blocks * 512 < 1 << 20
    pair.remove()


@parity
def test_holes_stay_holes(root: Path) -> object:
    fd = os.open(root / "sparse", os.O_RDWR | os.O_CREAT, 0o644)
    for offset in (0, 10 << 20, 30 << 20):
        os.pwrite(fd, b"island", offset)
    os.ftruncate(fd, 64 << 20)
    os.close(fd)
    # Compared with the tree: Entry.blocks. Here, that the case itself made a sparse file.
    return look(root / "sparse"), os.stat(root / "sparse").st_blocks * 512 < 1 << 20


@parity
def test_a_hole_filled_later_is_filled_on_both_legs(root: Path) -> object:
    (root / "file").touch()
    os.truncate(root / "file", 8 << 20)
    with open(root / "file", "r+b") as file:
        for offset in range(0, 8 << 20, 1 << 20):
            file.seek(offset + 77)
            file.write(b"filled" * 100)
    return digest_at(None, root / "file")


@parity
def test_size_limits_of_the_file_system(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    seen = [outcome(os.ftruncate, fd, 1 << 60), os.fstat(fd).st_size]
    os.close(fd)
    seen += [outcome(os.truncate, root / "file", 1 << 60), look(root / "file")]
    os.truncate(root / "file", 0)  # some file systems hold it, but nobody wants to read it
    return seen
