"""Owner, mode, times and extended attributes: read from one object, set on another.

Objects are named by a descriptor-relative path string, `/proc/self/fd/N` or `/proc/self/fd/N/name`,
because xattr calls take no dir_fd. The last component is never followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

ACCESS_ACL: Final = "system.posix_acl_access"
"""Where an object has one, the group's bits of its mode are the mask of it, see acl(5)."""
_XATTR_ABSENT = (errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM, errno.EACCES)
_PRIVILEGED = ("trusted.", "security.")
_ACLS_OF_XFS = ("trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT")
"""XFS lists its ACLs a second time, to root, in a form of its own; who removes that removes the ACL."""


class SourceError(OSError):
    """What is copied from cannot be read: what is copied to is not to blame."""


@contextlib.contextmanager
def reading_source() -> Iterator[None]:
    """Errors of a failing disk become SourceError; those of names and rights stay what they are."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        raise
    except OSError as error:
        raise SourceError(error.errno, error.strerror, error.filename) from error


def fd_path(fd: int) -> bytes:
    """A path that names the open object itself, see proc(5)."""
    return b"/proc/self/fd/%d" % fd


def child_path(dir_fd: int, name: bytes) -> bytes:
    """A path that names `name` in the open directory, resolved in one step."""
    return b"/proc/self/fd/%d/%s" % (dir_fd, name)


def list_xattrs(path: bytes, *, follow: bool = False) -> list[str]:
    """Names of extended attributes, each ACL once; empty where the file system has none."""
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise
    return [name for name in names if name not in _ACLS_OF_XFS]


def read_xattrs(path: bytes, *, follow: bool = False) -> dict[str, bytes]:
    """All extended attributes, ACLs among them; empty where the file system has none."""
    names = list_xattrs(path, follow=follow)
    found: dict[str, bytes] = {}
    for name in names:
        try:
            found[name] = os.getxattr(path, name, follow_symlinks=follow)
        except OSError as error:
            # Removed since it was listed, or readable by a privileged user only (trusted.*).
            if error.errno not in _XATTR_ABSENT:
                raise
    return found


def has_access_acl(path: bytes, *, follow: bool = False) -> bool:
    """OSError where the file system does not say."""
    try:
        os.getxattr(path, ACCESS_ACL, follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise
    return True


def write_xattrs(path: bytes, wanted: dict[str, bytes], *, follow: bool = False) -> None:
    """Make the object's extended attributes equal to `wanted`, changing only what differs."""
    present = read_xattrs(path, follow=follow)
    for name in present.keys() - wanted.keys():
        _unless_privileged(name, partial(os.removexattr, path, name, follow_symlinks=follow))
    for name, value in wanted.items():
        if present.get(name) != value:
            _unless_privileged(name, partial(os.setxattr, path, name, value, follow_symlinks=follow))


def _unless_privileged(name: str, change: Callable[[], None]) -> None:
    """Run `change`; an ordinary user may lack the right to security labels, which then stay as made."""
    try:
        change()
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES) and name.startswith(_PRIVILEGED) and os.geteuid():
            return
        raise


def copy_metadata(source: bytes, destination: bytes, *, follow: bool = False) -> os.stat_result:
    """Make owner, mode, xattrs and times of `destination` those of `source`; returns the source's stat.

    Only what differs is changed. The order matters: chown clears set-id bits and capabilities, an ACL
    sets the group bits of the mode, and everything but utimens moves the ctime only.
    """
    with reading_source():
        wanted, xattrs = os.stat(source, follow_symlinks=follow), read_xattrs(source, follow=follow)
    own(destination, wanted.st_uid, wanted.st_gid, follow=follow)
    write_xattrs(destination, xattrs, follow=follow)
    present = os.stat(destination, follow_symlinks=follow)
    if wanted.st_mode != present.st_mode and not stat.S_ISLNK(wanted.st_mode):
        os.chmod(destination, stat.S_IMODE(wanted.st_mode))
    if wanted.st_mtime_ns != present.st_mtime_ns:
        copy_times(wanted, destination, follow=follow)
    return wanted


def own(path: bytes, uid: int, gid: int, *, follow: bool) -> None:
    """Set the owner if it differs.

    An ordinary user may not give files away: they stay the user's, as with `rsync -a`.
    """
    present = os.stat(path, follow_symlinks=follow)
    if (uid, gid) == (present.st_uid, present.st_gid):
        return
    try:
        os.chown(path, uid, gid, follow_symlinks=follow)
    except PermissionError:
        if os.geteuid() == 0:
            raise


def own_open(fd: int, uid: int, gid: int) -> None:
    """The same, of what is open for more than its path."""
    present = os.fstat(fd)
    if (uid, gid) == (present.st_uid, present.st_gid):
        return
    try:
        os.chown(fd, uid, gid)
    except PermissionError:
        if os.geteuid() == 0:
            raise


def copy_times(wanted: os.stat_result, destination: bytes, *, follow: bool = False) -> None:
    """Set atime and mtime, to the nanosecond."""
    os.utime(destination, ns=(wanted.st_atime_ns, wanted.st_mtime_ns), follow_symlinks=follow)
