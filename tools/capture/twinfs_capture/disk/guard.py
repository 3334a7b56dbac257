"""What is refused before anything is written, and the option that insists."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twinfs.errors import UsageError
from twinfs_capture import devices
from twinfs_capture.disk.source import Source
from twinfs_capture.errors import RefusedError


def check_source(source: Source, *, is_live: bool) -> None:
    """Refuse what somebody may be writing to: a device, or a file behind a loop device."""
    if is_live:
        return
    number = devices.device_number(source.path)
    if number is None:
        users = [use for name in devices.loops_over(source.path) for use in devices.uses(_number_of(name))]
    else:
        users = devices.uses(number)
        if not users and devices.is_claimed(source.path):
            users = [f"{source.path} is in use (mounted elsewhere, RAID, LVM or swap)"]
    if users:
        raise RefusedError(
            f"{source.path} is in use, so that it may change while it is read: {'; '.join(users)}\n"
            "  unmount it first; or capture it as it is, as after a power cut, with --live"
        )


def _number_of(name: str) -> str:
    return Path(f"/sys/class/block/{name}/dev").read_text().strip()


def check_destination(source: Source, dest: Path, *, is_forced: bool) -> None:
    """Refuse the source itself whatever is said; a device, and the source's own disk, unless forced."""
    parent = dest.absolute().parent
    if not parent.is_dir():
        raise UsageError(f"DEST {dest}: there is no directory {parent}")
    try:
        info = os.stat(dest)
    except FileNotFoundError:
        info = None
    except OSError as error:
        raise UsageError(f"DEST {dest}: {error.strerror}") from error
    if info is not None:
        _check_kind(dest, info)
        _check_not_source(source, dest, info)
    dest_number = devices.device_number(dest)
    if dest_number is not None and not is_forced:
        raise RefusedError(
            f"DEST {dest} is a device: everything on it would be overwritten\n"
            "  name a file for the image; or, if the device is meant, insist with --force"
        )
    if not is_forced:
        _check_other_disk(source, dest, dest_number or devices.device_beneath(parent))


def _check_kind(dest: Path, info: os.stat_result) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise UsageError(f"DEST {dest} is a directory; name a file in it, such as {dest / 'disk.img'}")
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISBLK(info.st_mode):
        raise UsageError(f"DEST {dest} is neither a file nor a disk")


def _check_not_source(source: Source, dest: Path, info: os.stat_result) -> None:
    ours = os.fstat(source.fd)
    is_same = (ours.st_dev, ours.st_ino) == (info.st_dev, info.st_ino)
    number, dest_number = devices.device_number(source.path), devices.device_number(dest)
    if number is not None and dest_number is not None:
        is_same = is_same or devices.overlap(number, dest_number)
    for device, file in ((number, dest), (dest_number, source.path)):
        # A loop device and the file behind it are one thing.
        behind = _backing_file(device) if device is not None else None
        is_same = is_same or (behind is not None and behind.exists() and behind.samefile(file))
    if is_same:
        raise RefusedError(
            f"DEST {dest} is SOURCE {source.path}, or a part of it: it would overwrite what it reads\n"
            "  name another DEST; no option allows this"
        )


def _backing_file(number: str) -> Path | None:
    return devices.backing_file(Path(f"/sys/dev/block/{number}").resolve().name)


def _check_other_disk(source: Source, dest: Path, dest_number: str | None) -> None:
    """A file is not held to it: it is copied like any other; a device may be failing."""
    number = devices.device_number(source.path)
    if number is None or dest_number is None:
        return
    shared = devices.disks_beneath(number, through_loops=False) & devices.disks_beneath(
        dest_number, through_loops=True
    )
    if shared:
        names = ", ".join(f"/dev/{name}" for name in sorted(shared))
        raise RefusedError(
            f"DEST {dest} is on the disk that is read ({names}): if that disk fails, the image fails with it,"
            " and every write is one more strain\n"
            "  choose another disk for DEST; or insist with --force"
        )
