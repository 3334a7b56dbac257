"""Owner, mode, times and extended attributes from one object to another."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from twinfs.fsio.metadata import child_path, copy_metadata, fd_path, read_xattrs, write_xattrs

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def acl_of(user: int, mode: int) -> bytes:
    """A POSIX ACL as the kernel stores it, with one named user; see acl(5), linux/posix_acl_xattr.h."""
    no_one = 0xFFFFFFFF
    entries = [(0x01, 6, no_one), (0x02, mode, user), (0x04, 4, no_one), (0x10, 6, no_one), (0x20, 0, no_one)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def facts(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    times = (status.st_atime_ns, status.st_mtime_ns)
    return status.st_mode, status.st_uid, status.st_gid, times, read_xattrs(os.fsencode(path))


def test_a_file_gets_mode_times_and_attributes(tmp_path: Path) -> None:
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.write_text("x")
    destination.write_text("y")
    os.setxattr(source, "user.a", b"1")
    os.setxattr(source, "user.b", b"")
    os.setxattr(destination, "user.a", b"other")
    os.setxattr(destination, "user.gone", b"2")
    source.chmod(0o4751)
    os.utime(source, ns=(1_234_567_890_123_456_789, 987_654_321_987_654_321))
    copy_metadata(os.fsencode(source), os.fsencode(destination))
    assert facts(source) == facts(destination)


@needs_root
def test_owner_set_id_bits_and_acl_survive_together(tmp_path: Path) -> None:
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.write_text("x")
    destination.write_text("y")
    os.chown(source, 1234, 2345)
    source.chmod(0o6770)
    os.setxattr(source, "system.posix_acl_access", acl_of(4321, 6))
    copy_metadata(os.fsencode(source), os.fsencode(destination))
    assert facts(source) == facts(destination)
    assert destination.stat().st_mode & 0o6000 == source.stat().st_mode & 0o6000


def test_an_acl_that_the_source_has_not_is_taken_away(tmp_path: Path) -> None:
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.mkdir()
    destination.mkdir()
    source.chmod(0o750)
    os.setxattr(destination, "system.posix_acl_access", acl_of(4321, 7))
    os.setxattr(destination, "system.posix_acl_default", acl_of(4321, 7))
    copy_metadata(os.fsencode(source), os.fsencode(destination))
    assert facts(source) == facts(destination)


def test_a_symbolic_link_gets_its_own_times_and_what_it_points_to_keeps_its(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("x")
    os.utime(tmp_path / "victim", ns=(5, 5))
    for name in ("source", "destination"):
        (tmp_path / name).symlink_to("victim")
    os.utime(tmp_path / "source", ns=(7, 8), follow_symlinks=False)
    fds = [os.open(tmp_path / name, os.O_PATH | os.O_NOFOLLOW) for name in ("source", "destination")]
    copy_metadata(fd_path(fds[0]), fd_path(fds[1]), follow=True)
    for fd in fds:
        os.close(fd)
    assert (tmp_path / "destination").lstat().st_mtime_ns == 8
    assert (tmp_path / "victim").stat().st_mtime_ns == 5


def test_writing_the_same_attributes_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    os.setxattr(path, "user.a", b"1")
    before = path.stat().st_ctime_ns
    write_xattrs(os.fsencode(path), {"user.a": b"1"})
    assert path.stat().st_ctime_ns == before


def test_a_child_is_named_by_the_directory_descriptor_and_not_by_a_path(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "f").write_text("here")
    fd = os.open(tmp_path / "old", os.O_PATH)
    (tmp_path / "old").rename(tmp_path / "new")
    try:
        assert Path(os.fsdecode(child_path(fd, b"f"))).read_text() == "here"
    finally:
        os.close(fd)
