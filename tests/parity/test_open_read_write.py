"""open's flags; reads and writes of any size at any offset."""

from __future__ import annotations

import fcntl
import mmap
import os
import random
from pathlib import Path

from support.machine import outcome, run
from support.parity import look, parity


def open_close(path: Path, flags: int, mode: int = 0o644) -> None:
    os.close(os.open(path, flags, mode))


@parity
def test_open_of_a_missing_file_without_o_creat(root: Path) -> object:
    return [
        outcome(open_close, root / "missing", flags)
        for flags in (
            os.O_RDONLY,
            os.O_WRONLY,
            os.O_RDWR,
            os.O_WRONLY | os.O_TRUNC,
            os.O_WRONLY | os.O_APPEND,
        )
    ]


@parity
def test_o_excl_refuses_files_directories_and_dangling_links(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    (root / "dangling").symlink_to("nowhere")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    names = ("new", "new", "file", "dir", "dangling", "missing/new")
    return [outcome(open_close, root / name, flags) for name in names]


@parity
def test_o_creat_through_a_dangling_link_makes_its_target(root: Path) -> object:
    (root / "link").symlink_to("target")
    made = outcome(open_close, root / "link", os.O_CREAT | os.O_WRONLY)
    return made, look(root / "target"), look(root / "link")


@parity
def test_o_trunc_empties_an_existing_file(root: Path) -> object:
    seen = []
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_APPEND):
        (root / "file").write_bytes(b"full" * 1000)
        seen.append((outcome(open_close, root / "file", flags | os.O_TRUNC), look(root / "file")))
    return seen


@parity
def test_o_append_writes_at_the_end_wherever_the_offset_is(root: Path) -> object:
    (root / "log").write_bytes(b"start ")
    first = os.open(root / "log", os.O_RDWR | os.O_APPEND)
    second = os.open(root / "log", os.O_WRONLY | os.O_APPEND)
    os.write(first, b"one ")
    os.write(second, b"two ")
    os.lseek(first, 0, os.SEEK_SET)
    os.write(first, b"three ")
    position = os.lseek(first, 0, os.SEEK_CUR)
    os.ftruncate(second, 3)
    os.write(first, b"four")
    at_offset = outcome(os.pwrite, first, b"!", 0)
    os.close(first)
    os.close(second)
    return position, at_offset, (root / "log").read_bytes()


@parity
def test_o_append_is_toggled_with_fcntl_on_an_open_file(root: Path) -> object:
    (root / "file").write_bytes(b"0123456789")
    fd = os.open(root / "file", os.O_RDWR)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_APPEND)
    os.write(fd, b"end")
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"head")
    os.close(fd)
    return (root / "file").read_bytes()


@parity
def test_access_modes_refuse_the_other_direction(root: Path) -> object:
    (root / "file").write_bytes(b"content")
    seen = []
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_PATH):
        fd = os.open(root / "file", flags)
        seen.append((outcome(os.read, fd, 3), outcome(os.write, fd, b"xyz"), outcome(os.ftruncate, fd, 5)))
        os.close(fd)
    return seen, (root / "file").read_bytes()


@parity
def test_open_of_the_wrong_kind(root: Path) -> object:
    (root / "dir").mkdir()
    (root / "file").touch()
    (root / "link").symlink_to("file")
    (root / "loop").symlink_to("loop")
    return [
        outcome(open_close, root / name, flags)
        for name, flags in (
            ("dir", os.O_WRONLY),
            ("dir", os.O_RDWR),
            ("dir", os.O_RDONLY | os.O_CREAT),
            ("dir", os.O_RDONLY),
            ("file", os.O_RDONLY | os.O_DIRECTORY),
            ("link", os.O_RDONLY | os.O_NOFOLLOW),
            ("link", os.O_PATH | os.O_NOFOLLOW),
            ("loop", os.O_RDONLY),
            ("file/", os.O_RDONLY),
            ("file/below", os.O_RDONLY),
            ("new/", os.O_WRONLY | os.O_CREAT),
        )
    ]


@parity
def test_read_and_write_of_any_size_at_any_offset(root: Path) -> object:
    rng = random.Random(4711)
    sizes = (0, 1, 2, 511, 4095, 4096, 4097, 65_536, 131_072, 131_073, 1_048_576, 1_048_577)
    seen = []
    with open(root / "file", "w+b", buffering=0) as file:
        for _ in range(120):
            offset, size = rng.randrange(3_000_000), rng.choice(sizes)
            if rng.random() < 0.5:
                seen.append(os.pwrite(file.fileno(), rng.randbytes(size), offset))
            else:
                seen.append(hash(os.pread(file.fileno(), size, offset)))
    return seen, look(root / "file")


@parity
def test_many_small_writes_through_two_descriptors_are_seen_by_both(root: Path) -> object:
    first = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    second = os.open(root / "file", os.O_RDWR)
    seen = []
    for step in range(300):
        os.pwrite((first, second)[step % 2], bytes([step % 251]) * 7, step * 5)
        seen.append(os.pread((second, first)[step % 2], 11, max(0, step * 5 - 4)))
    os.close(first)
    seen.append(os.pread(second, 4096, 0))
    os.close(second)
    return seen


@parity
def test_reads_at_and_behind_the_end(root: Path) -> object:
    (root / "file").write_bytes(b"0123456789")
    fd = os.open(root / "file", os.O_RDONLY)
    seen = [
        os.pread(fd, size, offset) for size, offset in ((100, 0), (100, 9), (1, 10), (100, 10**12), (0, 3))
    ]
    os.close(fd)
    return seen


@parity
def test_a_write_behind_the_end_leaves_zeros_between(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"far", 100_000)
    between = os.pread(fd, 100_003, 0)
    os.close(fd)
    return between.strip(b"\0"), look(root / "file")


@parity
def test_vectored_reads_and_writes(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    wrote = os.writev(fd, [b"one", b"", b"two" * 5000, b"three"]), os.pwritev(fd, [b"X", b"YZ"], 2)
    buffers = [bytearray(2), bytearray(10_000), bytearray(9000)]
    read = os.preadv(fd, buffers, 0)
    os.close(fd)
    return wrote, read, [bytes(buffer) for buffer in buffers]


@parity
def test_o_direct_reads_and_writes_whole_blocks(root: Path) -> object:
    buffer = mmap.mmap(-1, 8192)  # page-aligned, as O_DIRECT asks
    buffer[:] = b"direct!!" * 1024
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
    wrote = os.pwritev(fd, [buffer], 4096)
    buffer[:] = bytes(8192)
    read = os.preadv(fd, [buffer], 4096)
    os.close(fd)
    return wrote, read, bytes(buffer[:16]), (root / "file").read_bytes()[4096:4104]


@parity
def test_o_sync_and_o_dsync_writes(root: Path) -> object:
    for name, flag in (("sync", os.O_SYNC), ("dsync", os.O_DSYNC)):
        fd = os.open(root / name, os.O_WRONLY | os.O_CREAT | flag, 0o644)
        os.write(fd, name.encode() * 10_000)
        os.close(fd)
    return look(root / "sync"), look(root / "dsync")


@parity
def test_negative_offsets_and_bad_seeks(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    seen = [
        outcome(os.pread, fd, 1, -1),
        outcome(os.pwrite, fd, b"x", -1),
        outcome(os.lseek, fd, -1, os.SEEK_SET),
        outcome(os.lseek, fd, 10, os.SEEK_END),
        outcome(os.pwrite, fd, b"x", 2**63 - 1),
    ]
    os.close(fd)
    return seen


@parity
def test_a_descriptor_outlives_removal_of_the_permission_to_open_it(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.chmod(root / "file", 0)
    wrote = outcome(os.write, fd, b"still here")
    read = outcome(os.pread, fd, 100, 0)
    os.close(fd)
    return wrote, read, look(root / "file")


@parity
def test_dup_and_inheritance_share_the_offset(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    copy = os.dup(fd)
    os.write(fd, b"one")
    os.write(copy, b"two")
    os.close(fd)
    os.write(copy, b"three")
    os.close(copy)
    run("sh", "-c", f"(echo a; echo b) >> '{root}/file'")
    return (root / "file").read_bytes()


@parity
def test_creat_mode_and_umask(root: Path) -> object:
    for mask in (0o000, 0o022, 0o077, 0o777):
        os.umask(mask)
        open_close(root / f"file-{mask:o}", os.O_CREAT | os.O_WRONLY, 0o777)
        open_close(root / f"special-{mask:o}", os.O_CREAT | os.O_WRONLY, 0o7666)
        os.mkdir(root / f"dir-{mask:o}", 0o1777)
    return [look(path) for path in sorted(root.iterdir())]


@parity
def test_a_file_created_read_only_can_be_written_through_its_first_descriptor(root: Path) -> object:
    fd = os.open(root / "file", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o400)
    wrote = outcome(os.write, fd, b"as git does with its objects")
    os.close(fd)
    return wrote, look(root / "file"), (root / "file").read_bytes()


@parity
def test_a_write_only_descriptor_writes_into_the_middle_of_a_block(root: Path) -> object:
    """With a writeback cache the kernel must first read the block, through a descriptor that may not read."""
    (root / "file").write_bytes(b"a" * 10_000)
    run("sh", "-c", f"printf XYZ | dd of='{root}/file' bs=1 seek=5000 conv=notrunc status=none")
    content = (root / "file").read_bytes()
    return content[4998:5005], len(content)
