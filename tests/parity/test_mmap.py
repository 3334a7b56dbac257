"""Memory-mapped files."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from support.machine import finish, in_child, outcome, start_python
from support.parity import parity


@parity
def test_a_shared_mapping_is_written_to_the_file(root: Path) -> object:
    (root / "file").write_bytes(bytes(100_000))
    with open(root / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[10:15] = b"start"
        view[99_000:99_003] = b"end"
        view.flush()
    return hash((root / "file").read_bytes())


@parity
def test_a_mapping_written_without_msync_is_there_after_munmap(root: Path) -> object:
    (root / "file").write_bytes(bytes(50_000))
    file = open(root / "file", "r+b")  # noqa: SIM115  closed before the mapping is, which is the point
    view = mmap.mmap(file.fileno(), 0)
    file.close()
    view[40_000:40_006] = b"mapped"
    view.close()
    return (root / "file").read_bytes()[39_998:40_010]


@parity
def test_a_mapping_sees_writes_and_reads_see_the_mapping(root: Path) -> object:
    (root / "file").write_bytes(bytes(8192))
    fd = os.open(root / "file", os.O_RDWR)
    view = mmap.mmap(fd, 0)
    os.pwrite(fd, b"by write", 4000)
    seen = [view[4000:4008]]
    view[5000:5008] = b"by store"
    seen.append(os.pread(fd, 8, 5000))
    view.close()
    os.close(fd)
    return seen


@parity
def test_a_private_mapping_changes_nothing(root: Path) -> object:
    (root / "file").write_bytes(b"original" * 1000)
    fd = os.open(root / "file", os.O_RDONLY)
    view = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    view[0:8] = b"scribble"
    view.close()
    os.close(fd)
    return (root / "file").read_bytes()[:8]


@parity
def test_a_shared_writable_mapping_needs_a_writable_descriptor(root: Path) -> object:
    (root / "file").write_bytes(bytes(4096))
    fd = os.open(root / "file", os.O_RDONLY)
    answer = outcome(lambda: mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_WRITE).close())
    os.close(fd)
    return answer


@parity
def test_two_processes_share_a_mapping(root: Path) -> object:
    (root / "file").write_bytes(bytes(4096))
    fd = os.open(root / "file", os.O_RDWR)
    view = mmap.mmap(fd, 0)

    def child() -> bytes:
        theirs = os.open(root / "file", os.O_RDWR)
        with mmap.mmap(theirs, 0) as mapped:
            mapped[100:105] = b"child"
            seen = mapped[0:6]
        os.close(theirs)
        return seen

    view[0:6] = b"parent"
    seen = in_child(child)
    mine = view[100:105]
    view.close()
    os.close(fd)
    return seen, mine


@parity
def test_a_mapping_outlives_the_name(root: Path) -> object:
    (root / "file").write_bytes(b"a" * 20_000)
    fd = os.open(root / "file", os.O_RDWR)
    view = mmap.mmap(fd, 0)
    os.close(fd)
    os.unlink(root / "file")
    view[5:9] = b"bbbb"
    view.flush()
    seen = view[0:12]
    view.close()
    return seen, os.listdir(root)


_WRITER = """
import mmap, os, sys
number = int(sys.argv[2])
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
    for page in range(number, len(view) // 4096, 4):
        view[page * 4096 : page * 4096 + 100] = bytes([65 + number]) * 100
        if page % 16 == number:
            view.flush()
"""


@parity
def test_four_processes_write_their_own_pages_of_one_mapping(root: Path) -> object:
    (root / "file").write_bytes(bytes(1 << 20))
    writers = [start_python(_WRITER, root / "file", str(number)) for number in range(4)]
    for writer in writers:
        finish(writer)
    return (root / "file").read_bytes()[:: 4096 // 2]
