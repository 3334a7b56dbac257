"""One object's content and metadata, from the primary to the secondary."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.tree import assert_same
from twinfs.fsio.metadata import read_xattrs
from twinfs.journal.ranges import BLOCK_BYTES, Ranges
from twinfs.journal.records import Remove, Rename
from twinfs.mirror import copier
from twinfs.mirror.copier import Copy, MovedError, SourceUnreadableError
from unit.mirror.kit import Pair

MIB = 1 << 20


def copy_of(pair: Pair, path: str, *ranges: tuple[int, int]) -> Copy:
    """`ranges` empty: metadata alone."""
    wanted = Ranges()
    for start, end in ranges:
        wanted.add(start, end)
    ident = pair.nodes.ident_of((pair.primary / path).lstat())
    return Copy(os.fsencode(path), ident, wanted, pair.nodes.ident_of)


def whole(pair: Pair, path: str) -> Copy:
    return copy_of(pair, path, (0, Ranges.OPEN_END))


def both(pair: Pair, path: str, content: bytes, old: bytes) -> None:
    (pair.primary / path).write_bytes(content)
    (pair.secondary / path).write_bytes(old)


def temporaries(pair: Pair) -> list[str]:
    return os.listdir(pair.secondary / ".twinfs" / "tmp")


def assert_file_same(pair: Pair, path: str) -> None:
    first, second = pair.primary / path, pair.secondary / path
    ours, theirs = first.stat(), second.stat()  # reading moves the times
    assert first.read_bytes() == second.read_bytes()
    for field in ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_atime_ns"):
        assert getattr(ours, field) == getattr(theirs, field), field
    assert read_xattrs(os.fsencode(first)) == read_xattrs(os.fsencode(second))


@pytest.mark.parametrize("old", [b"", b"old", b"o" * 3 * MIB], ids=["new", "smaller", "larger"])
@pytest.mark.parametrize("content", [b"", b"new" * 1000, b"n" * 2 * MIB], ids=["empty", "small", "large"])
def test_a_whole_file_is_copied_over_whatever_was_there(pair: Pair, content: bytes, old: bytes) -> None:
    both(pair, "f", content, old)
    (pair.primary / "f").chmod(0o4755)
    os.setxattr(pair.primary / "f", "user.a", b"1")
    os.setxattr(pair.secondary / "f", "user.b", b"2")
    os.utime(pair.primary / "f", ns=(10**18 + 1, 10**18 + 2))
    pair.run_copy(whole(pair, "f"))
    assert_file_same(pair, "f")
    assert temporaries(pair) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.booleans()), max_size=4),
    st.integers(0, 6 * 4096),
    st.booleans(),
)
def test_copying_the_marked_ranges_is_enough(
    pair: Pair, writes: list[tuple[int, int, bool]], size: int, is_linked: bool
) -> None:
    """Equal files, then writes and a new size on the primary, each marked: equal again."""
    for leg in (pair.primary, pair.secondary):
        (leg / "f").unlink(missing_ok=True)
        (leg / "g").unlink(missing_ok=True)
        (leg / "f").write_bytes(b"before" * 4096)
        if is_linked:
            os.link(leg / "f", leg / "g")
    marks = [(min(size, 6 * 4096), Ranges.OPEN_END)]
    with open(pair.primary / "f", "r+b") as file:
        for block, count, is_zero in writes:
            file.seek(block * 4096)
            file.write((b"\0" if is_zero else b"w") * 4096 * count)
            marks.append((block * 4096, (block + count) * 4096))
        file.truncate(size)
    pair.run_copy(copy_of(pair, "f", *marks))
    assert_file_same(pair, "f")
    assert (pair.secondary / "f").stat().st_nlink == 1 + is_linked


def test_holes_are_kept(pair: Pair) -> None:
    with open(pair.primary / "f", "wb") as file:
        file.truncate(64 * MIB)
        file.seek(32 * MIB)
        file.write(b"island")
    (pair.secondary / "f").touch()
    pair.run_copy(whole(pair, "f"))
    assert_file_same(pair, "f")
    assert (pair.secondary / "f").stat().st_blocks * 512 < 2 * MIB


@pytest.mark.parametrize("is_finished", [False, True])
def test_a_replaced_file_is_the_old_or_the_new_one_whole(pair: Pair, is_finished: bool) -> None:
    both(pair, "f", b"n" * MIB, b"old" * 1000)
    copy = whole(pair, "f")
    copy.begin(pair.primary_fd, pair.applier)
    assert (pair.secondary / "f").read_bytes() == b"old" * 1000
    copy.transfer()
    assert copy.is_replacement
    assert (pair.secondary / "f").read_bytes() == b"old" * 1000
    if is_finished:
        copy.finish(pair.applier)
        assert_file_same(pair, "f")
    else:
        copy.abandon(pair.applier)
        assert (pair.secondary / "f").read_bytes() == b"old" * 1000
    assert temporaries(pair) == []


def test_a_file_beyond_the_bound_is_written_in_place(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copier, "REPLACE_BYTES", 1000)
    both(pair, "f", b"n" * 5000, b"o" * 5000)
    inode = (pair.secondary / "f").stat().st_ino
    pair.run_copy(whole(pair, "f"))
    assert_file_same(pair, "f")
    assert (pair.secondary / "f").stat().st_ino == inode


def test_a_hard_linked_file_is_written_in_place_so_that_its_names_stay_one_file(pair: Pair) -> None:
    both(pair, "f", b"new", b"old!")
    for leg in (pair.primary, pair.secondary):
        os.link(leg / "f", leg / "g")
    pair.run_copy(whole(pair, "f"))
    assert (pair.secondary / "g").read_bytes() == b"new"
    assert (pair.secondary / "g").samefile(pair.secondary / "f")


def test_names_that_are_one_file_only_on_the_secondary_part(pair: Pair) -> None:
    both(pair, "f", b"new", b"old!")
    os.link(pair.secondary / "f", pair.secondary / "g")
    pair.run_copy(whole(pair, "f"))
    assert (pair.secondary / "f").read_bytes() == b"new"
    assert (pair.secondary / "g").read_bytes() == b"old!"


def test_a_source_that_moved_away_is_left_to_the_record_of_that(pair: Pair) -> None:
    both(pair, "f", b"new", b"old")
    gone, replaced = whole(pair, "f"), whole(pair, "f")
    (pair.primary / "f").rename(pair.primary / "g")
    with pytest.raises(MovedError):
        gone.begin(pair.primary_fd, pair.applier)
    (pair.primary / "f").write_text("another file")
    with pytest.raises(MovedError):
        replaced.begin(pair.primary_fd, pair.applier)
    assert (pair.secondary / "f").read_text() == "old"


def test_a_source_below_a_file_by_now_has_moved(pair: Pair) -> None:
    (pair.primary / "d").mkdir()
    (pair.primary / "d" / "f").touch()
    copy = whole(pair, "d/f")
    (pair.primary / "d" / "f").unlink()
    (pair.primary / "d").rmdir()
    (pair.primary / "d").touch()
    with pytest.raises(MovedError):
        copy.begin(pair.primary_fd, pair.applier)


def test_a_destination_that_is_gone_is_said_to_be_missing(pair: Pair) -> None:
    (pair.primary / "f").write_text("new")
    pair.applier.directory(b"")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        whole(pair, "f").begin(pair.primary_fd, pair.applier)
    (pair.secondary / "f").mkdir()
    with pytest.raises(FileNotFoundError):
        whole(pair, "f").begin(pair.primary_fd, pair.applier)
    assert len(os.listdir("/proc/self/fd")) == before
    assert pair.applier.followers == set()


def test_the_result_goes_where_the_secondary_has_the_name_by_then(pair: Pair) -> None:
    both(pair, "f", b"new", b"old")
    copy = whole(pair, "f")
    copy.begin(pair.primary_fd, pair.applier)
    copy.transfer()
    pair.applier.apply(1, Rename(b"f", b"g", False, 1))
    copy.finish(pair.applier)
    assert (pair.secondary / "g").read_text() == "new"
    assert not (pair.secondary / "f").exists()


def test_what_was_removed_meanwhile_does_not_come_back(pair: Pair) -> None:
    both(pair, "f", b"new", b"old")
    copy = whole(pair, "f")
    copy.begin(pair.primary_fd, pair.applier)
    copy.transfer()
    pair.applier.apply(1, Remove(b"f", False, True))
    with pytest.raises(MovedError):
        copy.finish(pair.applier)
    assert not (pair.secondary / "f").exists()
    assert temporaries(pair) == []


def test_a_symbolic_link_in_place_of_the_file_is_not_followed(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (pair.primary / "f").write_text("new")
    (pair.secondary / "f").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError):
        pair.run_copy(whole(pair, "f"))
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo"])
def test_metadata_of_what_has_no_content_is_copied(pair: Pair, kind: str) -> None:
    for leg in (pair.primary, pair.secondary):
        if kind == "directory":
            (leg / "o").mkdir()
        elif kind == "symlink":
            (leg / "o").symlink_to("/nowhere")
        else:
            os.mkfifo(leg / "o")
    if kind != "symlink":
        (pair.primary / "o").chmod(0o751)
        os.chmod(pair.secondary / "o", 0o700)
    os.utime(pair.primary / "o", ns=(5, 6), follow_symlinks=False)
    pair.run_copy(whole(pair, "o"))
    for leg in (pair.primary, pair.secondary):
        os.utime(leg, ns=(1, 1))
    assert_same(pair.primary, pair.secondary)


def test_a_copy_of_the_metadata_alone_moves_no_bytes(pair: Pair) -> None:
    both(pair, "f", b"same size", b"SAME SIZE")
    (pair.primary / "f").chmod(0o600)
    pair.run_copy(copy_of(pair, "f"))
    assert (pair.secondary / "f").read_bytes() == b"SAME SIZE"
    assert (pair.secondary / "f").stat().st_mode & 0o777 == 0o600


def test_bytes_to_copy_are_those_of_the_ranges(pair: Pair) -> None:
    both(pair, "f", b"n" * 3 * BLOCK_BYTES, b"o" * 3 * BLOCK_BYTES)
    copy = copy_of(pair, "f", (BLOCK_BYTES, 2 * BLOCK_BYTES))
    copy.begin(pair.primary_fd, pair.applier)
    assert copy.bytes_to_copy in (BLOCK_BYTES, 3 * BLOCK_BYTES)  # all of it where there are no reflinks
    copy.abandon(pair.applier)


def test_a_primary_that_does_not_give_its_file_is_told_from_a_failing_secondary(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(pair, "f", b"new", b"old")
    plain_open = os.open

    def fail(path: bytes, flags: int, *rest: int, **named: int) -> int:
        if path.startswith(b"/proc/self/fd/") and not flags & os.O_PATH:
            raise OSError(5, "unreadable sector")
        return plain_open(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(SourceUnreadableError) as caught:
        whole(pair, "f").begin(pair.primary_fd, pair.applier)
    assert caught.value.errno == 5
    assert (pair.secondary / "f").read_bytes() == b"old"
