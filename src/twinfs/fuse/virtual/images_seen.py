"""What stands at a path of the volume, on the leg that answers, for whoever shows it as an image."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twinfs.fsio.beneath import located
from twinfs.fsio.metadata import fd_path
from twinfs.fsio.syscalls import open_beneath
from twinfs.images.overlay.acl import ACCESS
from twinfs.images.worker.origin import stamp_of
from twinfs.mirror.label import LABEL_DIRECTORY

_SUFFIXES: Final = (
    *(b".img", b".image", b".raw", b".dd", b".bin", b".iso", b".usb", b".sd", b".disk", b".dmg", b".udf"),
    *(b".qcow", b".qcow2", b".vmdk", b".vdi", b".vhd", b".vhdx", b".e01", b".001", b".01"),
    *(b".ext2", b".ext3", b".ext4", b".xfs", b".btrfs", b".ntfs", b".vfat", b".fat", b".exfat"),
    *(b".squashfs", b".sqfs", b".snap", b".erofs", b".hfs", b".apfs", b".luks"),
)
_COMPRESSED: Final = (b".gz", b".xz", b".zst")


@dataclass(frozen=True, slots=True)
class Seen:
    """One object; equal as long as nothing about it has changed."""

    mode: int
    uid: int
    gid: int
    size_bytes: int
    mtime_ns: int
    stamp: tuple[int, ...]
    acl: bytes = b""
    """Empty where its mode says all."""
    target: bytes = b""

    @property
    def is_shown(self) -> bool:
        return stat.S_IFMT(self.mode) in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK)


def look(root_fd: int, path: bytes) -> Seen | None:
    """None where nothing is, or nothing that is shown. No symbolic link on the way is followed."""
    if path == LABEL_DIRECTORY or path.startswith(LABEL_DIRECTORY + b"/"):
        return None
    try:
        with located(root_fd, path) as (directory, name):
            return _seen(directory, name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def listed(root_fd: int, path: bytes) -> Sequence[tuple[bytes, Seen]]:
    """What is to be listed of a directory: directories, and what has the name of an image."""
    directory = open_beneath(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = []
        with os.scandir(directory) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if not path and name == LABEL_DIRECTORY:
                    continue
                if entry.is_dir(follow_symlinks=False) or is_named_as_image(name):
                    seen = _seen_if_there(directory, name)
                    if seen is not None:
                        found.append((name, seen))
        return sorted(found)
    finally:
        os.close(directory)


def is_named_as_image(name: bytes) -> bool:
    name = name.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name.endswith(_SUFFIXES)


def _seen_if_there(directory: int, name: bytes) -> Seen | None:
    try:
        return _seen(directory, name)
    except FileNotFoundError:
        return None


def _seen(directory: int, name: bytes) -> Seen | None:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    seen = Seen(
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        stamp_of(status),
        _acl(directory, name) if not stat.S_ISLNK(status.st_mode) else b"",
        os.readlink(name, dir_fd=directory) if stat.S_ISLNK(status.st_mode) else b"",
    )
    return seen if seen.is_shown else None


def _acl(directory: int, name: bytes) -> bytes:
    try:
        return os.getxattr(os.fsencode(fd_path(directory)) + b"/" + name, ACCESS, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return b""
        raise
