"""Against the kernel: what tmpfs or the disk's file system does with the same ACLs and modes."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from twinfs.images.overlay import acl

ENTRIES = [(1, 7, -1), (2, 5, 777), (4, 5, -1), (8, 6, 888), (16, 7, -1), (32, 4, -1)]


def packed(entries: list[tuple[int, int, int]]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


@pytest.mark.parametrize("mode", [0o777, 0o600, 0o751, 0o020])
@pytest.mark.parametrize("entries", [ENTRIES, [each for each in ENTRIES if each[0] in (1, 4, 32)]])
def test_modes_and_acls_change_each_other_as_in_the_kernel(tmp_path: Path, entries, mode):
    path = tmp_path / "file"
    path.touch(0o640)
    value = packed(entries)
    os.setxattr(path, acl.ACCESS, value)
    expected = acl.mode_with(value, 0o100640)
    assert path.stat().st_mode == expected
    assert acl.is_minimal(value) == (acl.ACCESS.decode() not in os.listxattr(path))
    os.chmod(path, mode)
    if not acl.is_minimal(value):
        assert os.getxattr(path, acl.ACCESS) == acl.after_chmod(value, mode)

    (tmp_path / "dir").mkdir()
    os.setxattr(tmp_path / "dir", acl.DEFAULT, value)
    before = os.umask(0o077)
    try:
        os.close(os.open(tmp_path / "dir" / "new", os.O_CREAT | os.O_WRONLY, mode))
    finally:
        os.umask(before)
    access, made = acl.inherited(value, 0o100000 | mode)
    assert (tmp_path / "dir" / "new").stat().st_mode == made
    names = os.listxattr(tmp_path / "dir" / "new")
    assert access == (os.getxattr(tmp_path / "dir" / "new", acl.ACCESS) if names else b"")
