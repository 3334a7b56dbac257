"""Beginning a capture, or going on with one: the map, the image, and what must agree between them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from twinfs.cli.talk import say
from twinfs.images.rescue_map import RescueMap, Status
from twinfs.report import human
from twinfs_capture.disk import map_file
from twinfs_capture.disk.settings import Settings
from twinfs_capture.disk.source import Source
from twinfs_capture.errors import CaptureError, RefusedError


def starting_map(settings: Settings, source: Source) -> tuple[RescueMap, bool]:
    """The map to begin with, and whether the image is begun anew. Raises RefusedError, CaptureError."""
    image, map_path = settings.image, settings.map
    has_image = image.exists() and not image.is_block_device()
    if settings.is_resumed and map_path.exists():
        return _resumed(settings, source), False
    if settings.is_forced:
        return RescueMap(source.size_bytes), True
    if has_image and settings.is_resumed:
        raise RefusedError(
            f"{image} exists, and its map {map_path} does not: what of it is good is not known\n"
            "  name its map with --map, or begin anew with --force instead of --resume"
        )
    if has_image:
        raise RefusedError(
            f"{image} exists already\n  go on with it: --resume; overwrite it: --force; or name another DEST"
        )
    if map_path.exists():
        raise RefusedError(
            f"the map {map_path} exists already, but not its image {image}\n"
            "  move the map away, name another with --map, or overwrite it with --force"
        )
    return RescueMap(source.size_bytes), True


def _resumed(settings: Settings, source: Source) -> RescueMap:
    found = map_file.load(settings.map)
    if found.size_bytes > source.size_bytes and _reach(found) > source.size_bytes:
        raise RefusedError(
            f"the map {settings.map} is of {found.size_bytes} bytes, {source.path} has"
            f" {source.size_bytes}: another disk, or one that has shrunk\n"
            "  check SOURCE; the image and the map are untouched"
        )
    if found.size_bytes > source.size_bytes:
        # ddrescue's map may reach beyond a source whose size it did not know.
        shorter = RescueMap(source.size_bytes)
        for block in found.blocks():
            if block.start < source.size_bytes:
                shorter.mark(block.start, min(block.end, source.size_bytes), block.status)
        shorter.position = found.position
        found = shorter
    elif found.size_bytes < source.size_bytes:
        say(
            f"{source.path} is larger than the map says; the"
            f" {human.size(source.size_bytes - found.size_bytes)} behind are read as well"
        )
    found.extend(source.size_bytes)
    reach = _reach(found)
    if reach and not settings.image.exists():
        raise RefusedError(
            f"the map {settings.map} tells of data in {settings.image}, but that does not exist\n"
            "  bring the image back; or begin anew with --force instead of --resume"
        )
    if reach and settings.image.is_file() and settings.image.stat().st_size < reach:
        raise RefusedError(
            f"{settings.image} has {settings.image.stat().st_size} bytes, but the map {settings.map} says"
            f" that it was filled up to {reach}: they do not belong together\n"
            "  name the right map with --map; or begin anew with --force instead of --resume"
        )
    return found


def _reach(rescue_map: RescueMap) -> int:
    """Where the last range ends that was read."""
    return max((block.end for block in rescue_map.blocks(Status.FINISHED)), default=0)


@contextlib.contextmanager
def opened_image(path: Path, size_bytes: int, *, is_new: bool) -> Iterator[int]:
    """The image's descriptor, locked, as large as the source. Raises CaptureError, RefusedError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o644)
    except OSError as error:
        raise CaptureError(f"{path} cannot be written: {error.strerror}") from error
    try:
        _lock(fd, path)
        if stat.S_ISBLK(os.fstat(fd).st_mode):
            _check_fits(path, os.lseek(fd, 0, os.SEEK_END), size_bytes)
        else:
            _set_size(fd, path, size_bytes, is_new=is_new)
            # Or the power could take away the file that a map elsewhere speaks of.
            sync_directory(path)
        yield fd
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Make a file's name durable."""
    fd = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RefusedError(f"{path} is being written by another twinfs-capture; wait for its end") from error
    except OSError as error:
        # Some network file systems have no locks; then nothing can be said about another writer.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise CaptureError(f"{path} cannot be locked: {error.strerror}") from error


def _check_fits(path: Path, present_bytes: int, size_bytes: int) -> None:
    if present_bytes < size_bytes:
        raise RefusedError(f"{path} has {present_bytes} bytes; the source with its {size_bytes} does not fit")


def _set_size(fd: int, path: Path, size_bytes: int, *, is_new: bool) -> None:
    """Never cuts off an image that is gone on with. Truncated only once it is locked."""
    try:
        if is_new:
            os.ftruncate(fd, 0)
        present_bytes = os.fstat(fd).st_size
        if present_bytes > size_bytes:
            raise RefusedError(
                f"{path} has {present_bytes} bytes, more than the source with its {size_bytes}:"
                " it is not its image\n  check SOURCE and DEST; both are untouched"
            )
        os.ftruncate(fd, size_bytes)
    except OSError as error:
        words = "the file system there cannot hold a file so large" if error.errno == errno.EFBIG else None
        raise CaptureError(
            f"{path} cannot be made {size_bytes} bytes large: {words or error.strerror}"
        ) from (error)
