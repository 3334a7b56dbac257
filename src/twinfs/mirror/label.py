"""A leg's label: `.twinfs/label.json` at its root says which volume and which leg this disk is.

No label, a foreign one, or another file system than last time: the leg is never written. An empty,
unmounted directory has no label, so it can never delete the other leg's files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import uuid
from typing import Final, TypedDict

import msgspec

from twinfs.errors import (
    DamagedLabelError,
    LabelGoneError,
    LegError,
    LegFaultyError,
    LegInUseError,
    LegNotMountedError,
    UsageError,
    WrongDiskError,
)
from twinfs.fsio.durable import replace_file
from twinfs.fsio.identity import boot_id, filesystem_id, is_other_filesystem
from twinfs.mirror.failures import is_leg_failure
from twinfs.mirror.folders import TEMPORARY
from twinfs.mirror.quarantine import QUARANTINE
from twinfs.model import Role, VolumeConfig

LABEL_DIRECTORY: Final = b".twinfs"
LABEL_NAME: Final = b"label.json"
_IGNORED_WHEN_EMPTY: Final = frozenset((LABEL_DIRECTORY, b"lost+found"))


class Label(msgspec.Struct, frozen=True):
    """`leg` says which of the settings' two places is the disk's; `role` what it is now, after a promotion
    the other one (None: as its place says).

    `events` grows when the legs part company, and `is_alone` says that this one went on without the
    other since. `is_detached`: the other one was taken away on purpose. `boot_id` is set while in use,
    empty after a clean end; `session` is of the last use, and the intent log of that use has it, too.
    `has_changed_roles`: the primary was another one once, so what is excluded may be on either leg only.
    `was` and `together_until` (seconds since the epoch): its role when it was last with the other, and until
    when that was known; of one that went on alone. `took_over`: the session of the primary that it took over
    from, which may itself have been alone still: not all that changed meanwhile had reached this one.
    """

    volume: str
    volume_id: str
    leg: Role
    events: int
    filesystem: str
    boot_id: str
    changed: float
    role: Role | None = None
    is_alone: bool = False
    is_detached: bool = False
    session: str = ""
    has_changed_roles: bool = False
    was: Role | None = None
    together_until: float = 0.0
    took_over: str = ""

    @property
    def is_of_new_disk(self) -> bool:
        """Empty when it was labelled, and never had everything yet. One that gave way has a session."""
        return not self.events and not self.session


class LabelChange(TypedDict, total=False):
    """The fields of a label that say how the legs stand."""

    events: int
    role: Role
    is_alone: bool
    is_detached: bool
    session: str
    has_changed_roles: bool
    was: Role
    together_until: float
    took_over: str


class Leg:
    """One leg, opened once as a directory; everything after is relative to `fd`."""

    def __init__(self, place: Role, path: str, fd: int, label: Label) -> None:
        self.place = place
        self.path = path
        self.fd = fd
        self.label = label
        self.device = os.fstat(fd).st_dev
        self._writing = threading.Lock()

    @staticmethod
    def open(place: Role, path: str, volume_id: str) -> Leg:
        """Open and check. LegNotMountedError without a label, WrongDiskError with another's, LegFaultyError
        where the disk fails, DamagedLabelError where its label says nothing."""
        fd = open_directory(place, path)
        try:
            return Leg._open(place, path, fd, volume_id)
        except OSError as error:
            os.close(fd)
            raise _refusal(place, path, error) from error
        except BaseException:
            os.close(fd)
            raise

    @staticmethod
    def _open(place: Role, path: str, fd: int, volume_id: str) -> Leg:
        label = read_label(fd, place, path)
        if label is None:
            raise _without_label(place, path, fd)
        _check(label, place, path, volume_id, filesystem_id(fd))
        return Leg(place, path, fd, label)

    @property
    def role(self) -> Role:
        return self.label.role or self.label.leg

    def write_label(self, *, is_in_use: bool, change: LabelChange | None = None) -> None:
        """Durable before it returns. When it fails, the label is as before."""
        with self._writing:
            label = msgspec.structs.replace(
                self.label,
                boot_id=boot_id() if is_in_use else "",
                filesystem=filesystem_id(self.fd),
                changed=time.time(),
                **(change or {}),
            )
            _write_label(self.fd, label)
            self.label = label

    @property
    def was_in_use_at_other_boot(self) -> bool:
        """The power went: what was not fsynced may be missing on either leg."""
        return self.label.boot_id not in ("", boot_id())

    def say_detached(self, is_detached: bool) -> None:
        """That the other leg was taken away on purpose; durable before it returns."""
        self.write_label(is_in_use=self.label.boot_id != "", change=LabelChange(is_detached=is_detached))

    def is_still_labelled(self) -> bool:
        """Whether the label on the disk is still this leg's. LegError: it says nothing."""
        label = read_label(self.fd, self.role, self.path)
        return label is not None and (label.volume_id, label.leg) == (self.label.volume_id, self.label.leg)

    def close(self) -> None:
        os.close(self.fd)


def open_directory(role: Role, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise LegNotMountedError(
                f"{role} leg: {path}: {error.strerror}.\n  Mount the disk and try again."
            ) from error
        raise _refusal(role, path, error) from error


def _without_label(role: Role, path: str, fd: int) -> LegNotMountedError:
    said = f"{role} leg: {path} has no twinfs label"
    if is_empty(fd):
        return LegNotMountedError(
            f"{said}: the disk is not mounted there; refusing to touch it.\n  Mount the disk and try again."
        )
    return LabelGoneError(
        f"{said}, but files; refusing to touch them. Is its disk mounted?\n"
        f"  If these are the leg's files, and something (an rsync --delete?) took the label away:"
        f" twinfs replace NAME {role} {path} --adopt"
    )


def _refusal(role: Role, path: str, error: OSError) -> LegError:
    if is_leg_failure(error):
        advice = "Look at its cable, and at it with fsck."
        return LegFaultyError(f"{role} leg: {path}: the disk fails: {error.strerror}.\n  {advice}")
    return LegError(f"{role} leg: {path}: {error.strerror}")


def _check(label: Label, role: Role, path: str, volume_id: str, filesystem: str) -> None:
    if label.volume_id != volume_id:
        raise WrongDiskError(
            f"{role} leg: {path} belongs to another volume, {label.volume!r}; refusing to touch it.\n"
            f"  Mount the right disk there."
        )
    if label.leg is not role:
        raise WrongDiskError(
            f"{role} leg: {path} is the volume's {label.leg}; the legs are swapped; refusing to touch it.\n"
            f"  Mount each disk at its own place.\n"
            f"  If its label was copied there from the other leg (by an rsync?):"
            f" rm {path}/.twinfs/label.json; twinfs replace NAME {role} {path} --adopt"
        )
    if is_other_filesystem(label.filesystem, filesystem):
        raise WrongDiskError(
            f"{role} leg: {path} is on another file system than last time (a copy of the disk?); "
            f"refusing to touch it.\n  Mount the disk that was used before."
        )


def read_label(fd: int, role: Role, path: str) -> Label | None:
    name = LABEL_DIRECTORY + b"/" + LABEL_NAME
    try:
        label_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(label_fd, "rb") as file:
        content = file.read()
    try:
        return msgspec.json.decode(content, type=Label)
    except msgspec.MsgspecError as error:
        reason = str(error) if content.strip(b"\0") else "zeros" if content else "empty"
        raise DamagedLabelError(
            f"{role} leg: {path}: its label, {os.fsdecode(name)}, is damaged ({reason}); nothing is written"
            f" there.\n  Check the disk: dmesg, smartctl, fsck. To go on with another one: twinfs replace\n"
            f"  If it is well, the files are whole: twinfs replace NAME {role} {path} --adopt"
        ) from error


def read(role: Role, path: str) -> Label | None:
    """The label of a directory that is not opened as a leg; None without one."""
    fd = open_directory(role, path)
    try:
        return read_label(fd, role, path)
    finally:
        os.close(fd)


def _write_label(root_fd: int, label: Label) -> None:
    fd = os.open(LABEL_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        replace_file(fd, LABEL_NAME, msgspec.json.format(msgspec.json.encode(label)) + b"\n", 0o644)
    finally:
        os.close(fd)


def taken(path: str, label: Label) -> LegInUseError:
    """Why a directory with a label is not to become a leg."""
    return LegInUseError(
        f"{path} is already the {label.leg} leg of volume {label.volume!r}.\n"
        f"  If that volume is gone, or has another disk by now, move {path}/.twinfs away (a quarantine and"
        " old versions may be in it); then it is a directory with files, for --adopt."
    )


def initialise(primary: str, secondary: str, name: str, *, adopt: bool) -> str:
    """Label two directories as the legs of a new volume and return its id. No user's file changes.

    LegInUseError: a directory has a label, or the secondary holds files and `adopt` is false.
    UsageError: the two are one directory, or one is inside the other.
    """
    fds = {
        Role.PRIMARY: open_directory(Role.PRIMARY, primary),
        Role.SECONDARY: open_directory(Role.SECONDARY, secondary),
    }
    paths = {Role.PRIMARY: primary, Role.SECONDARY: secondary}
    try:
        check_apart(primary, secondary)
        for role, fd in fds.items():
            check_not_within(paths[role])
            if (label := read_label(fd, role, paths[role])) is not None:
                raise taken(paths[role], label)
        if not adopt and not is_empty(fds[Role.SECONDARY]):
            raise LegInUseError(
                f"{secondary} is not empty.\n  If it is a mirror of {primary}, say --adopt: what differs is "
                f"copied, what is only there goes to its quarantine."
            )
        volume_id = str(uuid.uuid4())
        for role, fd in fds.items():
            _make_folders(fd)
            _write_label(fd, Label(name, volume_id, role, 1, filesystem_id(fd), "", time.time()))
        return volume_id
    finally:
        for fd in fds.values():
            os.close(fd)


def write_new(path: str, config: VolumeConfig, place: Role, *, has_files: bool = False) -> None:
    """Label a directory as a volume's leg that has nothing yet (`events` is 0); or as one that has given
    way, whose files nobody may lose."""
    fd = open_directory(place, path)
    try:
        _make_folders(fd)
        fresh = Label(
            config.name,
            config.volume_id,
            place,
            events=0,
            filesystem=filesystem_id(fd),
            boot_id="",
            changed=time.time(),
            role=Role.SECONDARY,
            session=uuid.uuid4().hex if has_files else "",
        )
        _write_label(fd, fresh)
    finally:
        os.close(fd)


def prefer(config: VolumeConfig, place: Role) -> None:
    """Of two legs that each went on alone, let the one at `place` count; see mirror/rescue.py."""
    winning = Leg.open(place, _path(config, place), config.volume_id)
    try:
        change = LabelChange(session=uuid.uuid4().hex, role=Role.PRIMARY, is_alone=True)
        winning.write_label(is_in_use=False, change=change)
    finally:
        winning.close()
    give_way(config, Role.SECONDARY if place is Role.PRIMARY else Role.PRIMARY)


def give_way(config: VolumeConfig, place: Role) -> None:
    """The leg at `place` follows from now on, whatever it did alone."""
    leg = Leg.open(place, _path(config, place), config.volume_id)
    try:
        change = LabelChange(events=0, role=Role.SECONDARY, is_alone=False)
        leg.write_label(is_in_use=False, change=change)
    finally:
        leg.close()


def _path(config: VolumeConfig, place: Role) -> str:
    return config.primary if place is Role.PRIMARY else config.secondary


def check_apart(primary: str, secondary: str) -> None:
    first, second = os.path.realpath(primary), os.path.realpath(secondary)
    if os.path.commonpath((first, second)) in (first, second):
        raise UsageError(f"{primary} and {secondary} must be two directories, neither inside the other.")
    if os.path.exists(first) and os.path.exists(second) and os.path.samefile(first, second):
        raise UsageError(f"{primary} and {secondary} are the same directory.")


def check_not_within(path: str) -> None:
    """LegInUseError where a directory above on the same file system is a leg: writing to one would change the
    other beneath its volume. Nothing is said of directories that may not be looked into."""
    place = os.path.realpath(path)
    device = os.stat(place).st_dev
    while (above := os.path.dirname(place)) != place and os.stat(above).st_dev == device:
        place = above
        with contextlib.suppress(PermissionError, DamagedLabelError):
            fd = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                label = read_label(fd, Role.PRIMARY, above)
            finally:
                os.close(fd)
            if label is not None:
                raise LegInUseError(
                    f"{path} is inside {above}, the {label.leg} leg of volume {label.volume!r}:"
                    " to write to one would change the other.\n"
                    f"  Take a directory beside it; or, if that volume is gone, move {above}/.twinfs away."
                )


def _make_folders(fd: int) -> None:
    for folder in (LABEL_DIRECTORY, TEMPORARY, QUARANTINE):
        if not exists(fd, folder):
            os.mkdir(folder, 0o700, dir_fd=fd)


def is_empty(fd: int) -> bool:
    return not {os.fsencode(name) for name in os.listdir(fd)} - _IGNORED_WHEN_EMPTY


def exists(dir_fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
