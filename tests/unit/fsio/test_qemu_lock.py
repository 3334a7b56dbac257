"""The locks by which a virtual machine says that it writes to an image."""

from __future__ import annotations

import fcntl
import os
import struct

from twinfs.fsio.qemu_lock import is_written_by_qemu

_F_OFD_SETLK = 37


def hold(path, byte: int) -> int:
    """A lock as QEMU takes it: shared, on one byte, owned by the open file and not by the process."""
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, _F_OFD_SETLK, struct.pack("@hhiqqii", fcntl.F_RDLCK, os.SEEK_SET, 0, byte, 1, 0, 0))
    return fd


def test_an_image_that_may_be_written_is_told_from_one_that_is_only_read(tmp_path):
    path = tmp_path / "disk.img"
    path.touch()
    assert not is_written_by_qemu(path)
    reader = hold(path, 100)
    assert not is_written_by_qemu(path)
    writer = hold(path, 101)
    assert is_written_by_qemu(path)
    os.close(writer)
    assert not is_written_by_qemu(path)
    os.close(reader)


def test_what_is_no_file_is_written_by_nobody(tmp_path):
    assert not is_written_by_qemu(tmp_path)
    assert not is_written_by_qemu(tmp_path / "missing")
