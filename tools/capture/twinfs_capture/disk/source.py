"""The device, partition or file that is captured: how it is opened, and what its errors mean."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twinfs.errors import UsageError
from twinfs.report import human
from twinfs_capture.disk.buffers import ALIGN_BYTES, Chunk
from twinfs_capture.errors import CaptureError, SourceGoneError, SourceShrankError

_BLKSSZGET: Final = 0x1268  # linux/fs.h: the logical sector's bytes, an int
_BLKGETSIZE64: Final = 0x80081272  # linux/fs.h: the device's bytes, a u64
_FILE_SECTOR_BYTES: Final = 512

# What the block layer and file systems say of data that cannot be read while the rest can;
# blk_errors in block/blk-core.c: medium, protection, transport and timeout errors, and plain I/O error.
_BAD_SECTOR: Final = frozenset(
    {
        errno.EIO,
        errno.EILSEQ,
        errno.ENODATA,
        errno.ENOLINK,
        errno.EREMOTEIO,
        errno.ETIMEDOUT,
        errno.EBADMSG,
        errno.EUCLEAN,
    }
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How many bytes came, from the beginning of what was asked for, and the errno that ended it (0)."""

    length: int
    error: int


class Source:
    """Open for reading; offsets and lengths must be multiples of `sector_bytes` where `is_direct`."""

    def __init__(self, path: Path, fd: int, *, is_device: bool, is_direct: bool, sector_bytes: int) -> None:
        self.path = path
        self.fd = fd
        self.is_device = is_device
        self.is_direct = is_direct
        self.sector_bytes = sector_bytes
        self.size_bytes = self.present_size_bytes()

    def present_size_bytes(self) -> int:
        """Now. 0 for a device that was unplugged."""
        if self.is_device:
            try:
                return _device_size(self.fd)
            except OSError:
                return 0
        return os.fstat(self.fd).st_size

    def read(self, view: memoryview, offset_bytes: int) -> Reading:
        """Fill `view` from `offset_bytes`, up to the first bad sector.

        Raises SourceGoneError where the device is gone, SourceShrankError where the source ends earlier.
        """
        sector = self.sector_bytes
        if self.is_direct and (offset_bytes % sector or (offset_bytes + len(view)) % sector):
            # A file's end that is no whole sector, or a map made with smaller ones: not for O_DIRECT.
            with _without_direct(self.fd):
                return self._read(view, offset_bytes)
        return self._read(view, offset_bytes)

    def _read(self, view: memoryview, offset_bytes: int) -> Reading:
        done = 0
        while done < len(view):
            try:
                got = os.preadv(self.fd, [view[done:]], offset_bytes + done)
            except OSError as error:
                self._check_still_there(error, offset_bytes + done)
                return Reading(done, error.errno or errno.EIO)
            if got == 0:
                raise self._ended(offset_bytes + done)
            done += got
            if done < len(view):
                # Short, so something is amiss where it stopped; O_DIRECT asks for whole sectors.
                done -= done % self.sector_bytes
                if got < self.sector_bytes:
                    return Reading(done, errno.EIO)
        return Reading(done, 0)

    def advise(self, *, sequential: bool) -> None:
        """Read ahead, or not: it would run into bad sectors that nobody has asked for yet."""
        if not self.is_direct:
            advice = os.POSIX_FADV_SEQUENTIAL if sequential else os.POSIX_FADV_RANDOM
            os.posix_fadvise(self.fd, 0, 0, advice)

    def forget_cache(self) -> None:
        """Let what is read next come from the disk."""
        if not self.is_direct:
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        os.close(self.fd)

    def _check_still_there(self, error: OSError, offset_bytes: int) -> None:
        code = error.errno or errno.EIO
        if code not in _BAD_SECTOR:
            raise SourceGoneError(
                f"{self.path} cannot be read any more, at {offset_bytes}: {os.strerror(code)}\n"
                "  this is no bad sector. Plug it in again (or put the medium in) and go on with --resume"
            ) from error
        if self.is_device and self.present_size_bytes() != self.size_bytes:
            raise SourceGoneError(
                f"{self.path} has gone away, at {offset_bytes}: {os.strerror(code)}\n"
                "  plug it in again and go on with --resume"
            ) from error

    def _ended(self, offset_bytes: int) -> SourceShrankError:
        present = self.present_size_bytes()
        return SourceShrankError(
            f"{self.path} ends at {offset_bytes} ({human.size(offset_bytes)}), though it had"
            f" {self.size_bytes} bytes when the capture began (now it says {present})\n"
            "  what was read is kept; when it is whole again, go on with --resume"
        )


def open_source(path: Path, *, direct: bool | None = None, sector_bytes: int | None = None) -> Source:
    """Open a device or a regular file. `direct` None: O_DIRECT on devices only.

    Raises UsageError for what cannot be captured, CaptureError for what cannot be opened.
    """
    try:
        info = os.stat(path)
    except OSError as error:
        raise UsageError(f"SOURCE {path}: {error.strerror}") from error
    is_device = stat.S_ISBLK(info.st_mode)
    if not is_device and not stat.S_ISREG(info.st_mode):
        raise UsageError(f"SOURCE {path} is neither a block device nor a file; nothing else can be captured")
    wants_direct = is_device if direct is None else direct
    fd, is_direct = _open(path, wants_direct, is_needed=direct is True)
    natural = _sector_bytes(fd) if is_device else _file_sector_bytes(fd, is_direct=is_direct)
    return Source(
        path, fd, is_device=is_device, is_direct=is_direct, sector_bytes=_chosen(sector_bytes, natural)
    )


def _open(path: Path, wants_direct: bool, *, is_needed: bool) -> tuple[int, bool]:
    """Without O_DIRECT one bad sector costs its whole page of 4 KiB."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    try:
        if wants_direct:
            try:
                return os.open(path, flags | os.O_DIRECT), True
            except OSError as error:
                if error.errno != errno.EINVAL or is_needed:
                    raise
        return os.open(path, flags), False
    except PermissionError as error:
        raise CaptureError(
            f"SOURCE {path}: {error.strerror}; run it as root, or as somebody who may read {path}"
        ) from error
    except OSError as error:
        what_next = {
            errno.ENOMEDIUM: "; put the medium in first",
            errno.ENXIO: "; there is no such device any more",
            errno.EINVAL: "; its file system does not know O_DIRECT, leave --direct out",
        }.get(error.errno or 0, "")
        raise CaptureError(f"SOURCE {path}: {error.strerror}{what_next}") from error


@contextlib.contextmanager
def _without_direct(fd: int) -> Iterator[None]:
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
    try:
        yield
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)


def _file_sector_bytes(fd: int, *, is_direct: bool) -> int:
    """512, unless the disk beneath wants larger pieces for O_DIRECT."""
    if is_direct and os.fstat(fd).st_size > ALIGN_BYTES:
        try:
            os.preadv(fd, [Chunk(ALIGN_BYTES).view[:_FILE_SECTOR_BYTES]], _FILE_SECTOR_BYTES)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return ALIGN_BYTES
    return _FILE_SECTOR_BYTES


def _chosen(wanted: int | None, natural: int) -> int:
    if wanted is None:
        return natural
    if wanted < natural or wanted & (wanted - 1) or wanted > 1 << 16:
        raise UsageError(
            f"--sector-size {wanted}: must be a power of two, at least {natural} and at most 65536"
        )
    return wanted


def _device_size(fd: int) -> int:
    size: int = struct.unpack("=Q", fcntl.ioctl(fd, _BLKGETSIZE64, bytes(8)))[0]
    return size


def _sector_bytes(fd: int) -> int:
    sector: int = struct.unpack("=i", fcntl.ioctl(fd, _BLKSSZGET, bytes(4)))[0]
    return sector
