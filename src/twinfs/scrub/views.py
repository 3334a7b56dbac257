"""What one leg has at a path, as far as a scrub compares it."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from blake3 import blake3

from twinfs.fsio.beneath import located
from twinfs.fsio.metadata import child_path, list_xattrs, read_xattrs

_PRIVILEGED = ("trusted.", "security.")
_IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True, slots=True)
class View:
    """Metadata of one object. `xattrs` is a digest of them all, ACLs included, empty where there are none;
    `target` is a symbolic link's text. What an ordinary user cannot mirror (owners, security labels) is
    left out for one.
    """

    mode: int
    uid: int
    gid: int
    rdev: int
    size: int
    mtime_ns: int
    xattrs: bytes
    target: bytes

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


FIELDS = ("type", "mode", "owner", "device", "size", "mtime", "xattrs", "target")


def field(view: View, name: str) -> object:
    """A field by the name that people are told."""
    match name:
        case "type":
            return stat.S_IFMT(view.mode)
        case "mode":
            return stat.S_IMODE(view.mode)
        case "owner":
            return view.uid, view.gid
        case "device":
            return view.rdev
        case "mtime":
            return view.mtime_ns
        case _:
            return getattr(view, name)


def differing(first: View, second: View) -> tuple[str, ...]:
    """The names of the fields that differ, in the order of FIELDS."""
    if first == second:
        return ()
    return tuple(name for name in FIELDS if field(first, name) != field(second, name))


def view_at(dir_fd: int, name: bytes, status: os.stat_result) -> View:
    """The view of `name` in the open directory, whose lstat is `status`. OSError when it has gone."""
    kind = stat.S_IFMT(status.st_mode)
    is_device = kind in (stat.S_IFBLK, stat.S_IFCHR)
    return View(
        status.st_mode if kind != stat.S_IFLNK else stat.S_IFLNK | 0o777,
        status.st_uid if _IS_ROOT else 0,
        status.st_gid if _IS_ROOT else 0,
        status.st_rdev if is_device else 0,
        status.st_size if kind == stat.S_IFREG else 0,
        status.st_mtime_ns,
        xattrs_digest(child_path(dir_fd, name)),
        os.readlink(name, dir_fd=dir_fd) if kind == stat.S_IFLNK else b"",
    )


def xattrs_digest(path: bytes) -> bytes:
    """16 bytes that stand for all extended attributes; empty where there are none."""
    if not list_xattrs(path):
        return b""
    hasher = blake3()
    is_any = False
    for name, value in sorted(read_xattrs(path).items()):
        if not _IS_ROOT and name.startswith(_PRIVILEGED):
            continue
        is_any = True
        encoded = os.fsencode(name)
        hasher.update(b"%d:%s%d:%s" % (len(encoded), encoded, len(value), value))
    return hasher.digest(16) if is_any else b""


@dataclass(frozen=True, slots=True)
class Look:
    """One leg's object, and the status that tells whether it is still the same one later."""

    view: View
    status: os.stat_result


def look(root_fd: int, path: bytes) -> Look | None:
    """What the leg has at `path`, relative to its root; None where there is nothing."""
    try:
        with located(root_fd, path) as (dir_fd, name):
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            return Look(view_at(dir_fd, name, status), status)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a symbolic link where the other leg has a directory
            return None
        raise


def is_same(first: os.stat_result, second: os.stat_result) -> bool:
    """Whether the object and its content have not been touched between the two looks."""
    return (
        first.st_ino == second.st_ino
        and first.st_dev == second.st_dev
        and first.st_ctime_ns == second.st_ctime_ns
        and first.st_mtime_ns == second.st_mtime_ns
        and first.st_size == second.st_size
    )
