"""A copy is put aside whole, or not at all."""

from __future__ import annotations

import os

import pytest

from support.tree import digest_at
from twinfs.mirror.aside import TooLargeError, copy_aside
from unit.mirror.kit import Pair

OLD_NS = 10**18


def test_content_and_metadata_are_those_of_the_file(pair: Pair) -> None:
    file = pair.secondary / "f"
    file.write_bytes(os.urandom(100_000))
    file.chmod(0o640)
    os.setxattr(file, "user.colour", b"red")
    os.utime(file, ns=(OLD_NS, OLD_NS))
    fd = os.open(file, os.O_RDONLY)
    copy = pair.secondary / os.fsdecode(copy_aside(pair.secondary_fd, fd))
    os.close(fd)
    assert digest_at(None, copy) == digest_at(None, file)
    assert (copy.stat().st_mode, copy.stat().st_mtime_ns) == (file.stat().st_mode, OLD_NS)
    assert os.getxattr(copy, "user.colour") == b"red"
    assert copy.parent == pair.secondary / ".twinfs/tmp"


def test_what_is_too_large_to_be_copied_leaves_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(copy: int, source: int) -> None:
        raise OSError

    monkeypatch.setattr("twinfs.mirror.aside.clone_file", refuse)
    (pair.secondary / "f").write_bytes(bytes(5000))
    fd = os.open(pair.secondary / "f", os.O_RDONLY)
    with pytest.raises(TooLargeError):
        copy_aside(pair.secondary_fd, fd, limit_bytes=4999)
    os.close(fd)
    assert list((pair.secondary / ".twinfs/tmp").iterdir()) == []
