"""A leg's label: `.twinfs/label.json` at its root says which volume and which leg this disk is.

No label, a foreign one, or another file system than last time: the leg is never written. An empty,
unmounted directory has no label, so it can never delete the other leg's files.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from typing import Final

import msgspec

from twinfs.errors import (
    LegError,
    LegInUseError,
    LegNotMountedError,
    SplitBrainError,
    UsageError,
    WrongDiskError,
)
from twinfs.fsio.durable import replace_file
from twinfs.fsio.identity import boot_id, filesystem_id, is_other_filesystem
from twinfs.mirror.copier import TEMPORARY
from twinfs.mirror.quarantine import QUARANTINE
from twinfs.model import Role

LABEL_DIRECTORY: Final = b".twinfs"
_LABEL_NAME: Final = b"label.json"
_IGNORED_WHEN_EMPTY: Final = frozenset((LABEL_DIRECTORY, b"lost+found"))


class Label(msgspec.Struct, frozen=True):
    """`events` grows when the legs part company. `boot_id` is set while in use, empty after a clean end."""

    volume: str
    volume_id: str
    leg: Role
    events: int
    filesystem: str
    boot_id: str
    changed: float


class Leg:
    """One leg, opened once as a directory; everything after is relative to `fd`."""

    def __init__(self, role: Role, path: str, fd: int, label: Label) -> None:
        self.role = role
        self.path = path
        self.fd = fd
        self.label = label

    @staticmethod
    def open(role: Role, path: str, volume_id: str) -> Leg:
        """Open and check. LegNotMountedError without a label, WrongDiskError with another's."""
        fd = _open_directory(role, path)
        try:
            label = _read_label(fd)
            if label is None:
                raise LegNotMountedError(
                    f"{role} leg: {path} has no twinfs label: the disk is not mounted there; "
                    f"refusing to touch it.\n  Mount the disk and try again."
                )
            _check(label, role, path, volume_id, filesystem_id(fd))
        except BaseException:
            os.close(fd)
            raise
        return Leg(role, path, fd, label)

    def write_label(self, *, is_in_use: bool, events: int | None = None) -> None:
        """Durable before it returns."""
        self.label = msgspec.structs.replace(
            self.label,
            boot_id=boot_id() if is_in_use else "",
            events=self.label.events if events is None else events,
            filesystem=filesystem_id(self.fd),
            changed=time.time(),
        )
        _write_label(self.fd, self.label)

    @property
    def was_in_use_at_other_boot(self) -> bool:
        """The power went: what was not fsynced may be missing on either leg."""
        return self.label.boot_id not in ("", boot_id())

    def is_still_labelled(self) -> bool:
        """Whether the label on the disk is still this leg's."""
        label = _read_label(self.fd)
        return label is not None and (label.volume_id, label.leg) == (self.label.volume_id, self.label.leg)

    def close(self) -> None:
        os.close(self.fd)


def _open_directory(role: Role, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise LegNotMountedError(
                f"{role} leg: {path}: {error.strerror}.\n  Mount the disk and try again."
            ) from error
        raise LegError(f"{role} leg: {path}: {error.strerror}") from error


def _check(label: Label, role: Role, path: str, volume_id: str, filesystem: str) -> None:
    if label.volume_id != volume_id:
        raise WrongDiskError(
            f"{role} leg: {path} belongs to another volume, {label.volume!r}; refusing to touch it.\n"
            f"  Mount the right disk there."
        )
    if label.leg is not role:
        raise WrongDiskError(
            f"{role} leg: {path} is the volume's {label.leg}; the legs are swapped; refusing to touch it.\n"
            f"  Mount each disk at its own place."
        )
    if is_other_filesystem(label.filesystem, filesystem):
        raise WrongDiskError(
            f"{role} leg: {path} is on another file system than last time (a copy of the disk?); "
            f"refusing to touch it.\n  Mount the disk that was used before."
        )


def check_partners(primary: Label, secondary: Label) -> None:
    """SplitBrainError when the secondary went on without the primary."""
    if secondary.events > primary.events:
        raise SplitBrainError(
            f"the secondary (events {secondary.events}) was changed without the primary "
            f"(events {primary.events}); refusing to choose between them."
        )


def _read_label(fd: int) -> Label | None:
    name = LABEL_DIRECTORY + b"/" + _LABEL_NAME
    try:
        label_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(label_fd, "rb") as file:
        try:
            return msgspec.json.decode(file.read(), type=Label)
        except msgspec.MsgspecError as error:
            raise WrongDiskError(f"the label {os.fsdecode(name)} cannot be read: {error}") from error


def read(role: Role, path: str) -> Label | None:
    """The label of a directory that is not opened as a leg; None without one."""
    fd = _open_directory(role, path)
    try:
        return _read_label(fd)
    finally:
        os.close(fd)


def _write_label(root_fd: int, label: Label) -> None:
    fd = os.open(LABEL_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        replace_file(fd, _LABEL_NAME, msgspec.json.format(msgspec.json.encode(label)) + b"\n", 0o644)
    finally:
        os.close(fd)


def initialise(primary: str, secondary: str, name: str, *, adopt: bool) -> str:
    """Label two directories as the legs of a new volume and return its id. No user's file changes.

    LegInUseError: a directory has a label, or the secondary holds files and `adopt` is false.
    UsageError: the two are one directory, or one is inside the other.
    """
    fds = {
        Role.PRIMARY: _open_directory(Role.PRIMARY, primary),
        Role.SECONDARY: _open_directory(Role.SECONDARY, secondary),
    }
    paths = {Role.PRIMARY: primary, Role.SECONDARY: secondary}
    try:
        _check_apart(primary, secondary)
        for role, fd in fds.items():
            if (label := _read_label(fd)) is not None:
                raise LegInUseError(
                    f"{paths[role]} is already the {label.leg} leg of volume {label.volume!r}."
                )
        if not adopt and not _is_empty(fds[Role.SECONDARY]):
            raise LegInUseError(
                f"{secondary} is not empty.\n  If it is a mirror of {primary}, say --adopt: what differs is "
                f"copied, what is only there goes to its quarantine."
            )
        volume_id = str(uuid.uuid4())
        for role, fd in fds.items():
            for folder in (LABEL_DIRECTORY, TEMPORARY, QUARANTINE):
                if not _exists(fd, folder):
                    os.mkdir(folder, 0o700, dir_fd=fd)
            _write_label(fd, Label(name, volume_id, role, 1, filesystem_id(fd), "", time.time()))
        return volume_id
    finally:
        for fd in fds.values():
            os.close(fd)


def _check_apart(primary: str, secondary: str) -> None:
    first, second = os.path.realpath(primary), os.path.realpath(secondary)
    if os.path.commonpath((first, second)) in (first, second):
        raise UsageError(f"{primary} and {secondary} must be two directories, neither inside the other.")
    if os.path.samefile(first, second):
        raise UsageError(f"{primary} and {secondary} are the same directory.")


def _is_empty(fd: int) -> bool:
    return not {os.fsencode(name) for name in os.listdir(fd)} - _IGNORED_WHEN_EMPTY


def _exists(dir_fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
