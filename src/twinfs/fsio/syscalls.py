"""The system calls that Python's os module lacks, through the C library.

Each raises OSError with the kernel's errno. Names are bytes, resolved against a directory descriptor.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

_SYS_OPENAT2: Final = 437  # the same number on every architecture, see openat2(2)
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_FALLOC_FL_KEEP_SIZE: Final = 0x01
_FALLOC_FL_PUNCH_HOLE: Final = 0x02
_FICLONE: Final = 0x40049409  # ioctl_ficlone(2)

_HANDLE_HEAD: Final = struct.Struct("=Ii")  # struct file_handle, see name_to_handle_at(2)
_MAX_HANDLE_BYTES: Final = 128
_HANDLE_BYTES: Final = _HANDLE_HEAD.size + _MAX_HANDLE_BYTES

_DIRENT_HEAD: Final = struct.Struct("=QqHB")  # struct linux_dirent64, see getdents(2)
_DIRENT_BUFFER_BYTES: Final = 32 * 1024


def _check(result: int, name: bytes) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return result


def file_system_magic(fd: int) -> int:
    """What statfs(2) calls `f_type`: 0xEF53 for ext2, ext3 and ext4, and so on."""
    answer = ctypes.create_string_buffer(512)
    _check(_libc.fstatfs(fd, answer), b"")
    magic: int = struct.unpack_from("=l", answer)[0]
    return magic


def renameat2(old: bytes, new: bytes, old_dir_fd: int, new_dir_fd: int, flags: int) -> None:
    """Rename with flags, renameat2(2)."""
    if not flags:
        os.rename(old, new, src_dir_fd=old_dir_fd, dst_dir_fd=new_dir_fd)
        return
    _check(_libc.renameat2(old_dir_fd, old, new_dir_fd, new, ctypes.c_uint(flags)), old)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(dir_fd: int, path: bytes, flags: int) -> int:
    """Open `path`, any number of components, without following a symbolic link or leaving `dir_fd`.

    Source: openat2(2), RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS. A path beyond PATH_MAX is walked
    component by component, which keeps the same promise.
    """
    if not path:
        return os.open(b".", flags | os.O_CLOEXEC, dir_fd=dir_fd)
    if len(path) > 4000:
        return _open_long(dir_fd, path, flags)
    # openat2 refuses a final symbolic link with O_PATH|O_NOFOLLOW under NO_SYMLINKS only if it is
    # followed; with O_NOFOLLOW the link itself is opened.
    how = _OpenHow(
        flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_LARGEFILE, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS
    )
    fd = _libc.syscall(_SYS_OPENAT2, dir_fd, path, ctypes.byref(how), ctypes.sizeof(how))
    return _check(fd, path)


def _open_long(dir_fd: int, path: bytes, flags: int) -> int:
    *parents, name = path.split(b"/")
    current = os.dup(dir_fd)
    try:
        for part in parents:
            following = os.open(
                part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current
            )
            os.close(current)
            current = following
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
    finally:
        os.close(current)


def syncfs(fd: int) -> None:
    """Make the whole file system of `fd` durable, syncfs(2); reports write-back errors since 5.8."""
    _check(_libc.syncfs(fd), b"")


def punch_hole(fd: int, offset_bytes: int, length_bytes: int) -> None:
    """Make a hole without changing the size, fallocate(2)."""
    _check(
        _libc.fallocate64(
            fd,
            _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE,
            ctypes.c_int64(offset_bytes),
            ctypes.c_int64(length_bytes),
        ),
        b"",
    )


def clone_file(destination_fd: int, source_fd: int) -> None:
    """Share all of the source's extents, ioctl_ficlone(2). EOPNOTSUPP or EXDEV where that cannot be."""
    _check(_libc.ioctl(destination_fd, ctypes.c_ulong(_FICLONE), source_fd), b"")


def file_handle(dir_fd: int, name: bytes) -> bytes:
    """What tells the object from every other that ever had its inode number, see name_to_handle_at(2). Empty
    where the file system does not say. `name` is one component, never followed."""
    buffer = ctypes.create_string_buffer(_HANDLE_HEAD.pack(_MAX_HANDLE_BYTES, 0), _HANDLE_BYTES)
    mount_id = ctypes.c_int()
    if _libc.name_to_handle_at(dir_fd, name, buffer, ctypes.byref(mount_id), 0) != 0:
        code = ctypes.get_errno()
        if code in (errno.EOPNOTSUPP, errno.EOVERFLOW, errno.ENOSYS, errno.EPERM):
            return b""
        raise OSError(code, os.strerror(code), name)
    length, _ = _HANDLE_HEAD.unpack_from(buffer)
    return buffer.raw[4 : _HANDLE_HEAD.size + length]


@dataclass(frozen=True, slots=True)
class DirEntry:
    """One name of a directory. `next_offset` is where the listing goes on after it."""

    name: bytes
    ino: int
    next_offset: int


def list_directory(fd: int, offset: int) -> list[DirEntry]:
    """The next entries of the open directory from `offset` (0 or a `next_offset`); empty at the end.

    The file system's own cookies stay valid while entries come and go, see telldir(3), getdents(2).
    """
    buffer = ctypes.create_string_buffer(_DIRENT_BUFFER_BYTES)
    os.lseek(fd, offset, os.SEEK_SET)
    filled = _check(_libc.getdents64(fd, buffer, _DIRENT_BUFFER_BYTES), b"")
    return _parse_entries(buffer.raw[:filled])


def _parse_entries(raw: bytes) -> list[DirEntry]:
    entries: list[DirEntry] = []
    position = 0
    while position < len(raw):
        ino, next_offset, record_bytes, _ = _DIRENT_HEAD.unpack_from(raw, position)
        name_start = position + _DIRENT_HEAD.size
        name = raw[name_start : raw.index(b"\0", name_start)]
        entries.append(DirEntry(name, ino, next_offset))
        position += record_bytes
    return entries
