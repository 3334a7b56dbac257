"""File systems of their own for legs: images on loop devices, which need root, and ways to break them."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.machine import is_mounted, run, tool

_MAKERS = {
    "ext4": ("mkfs.ext4", "e2fsprogs", ("-q",)),
    "xfs": ("mkfs.xfs", "xfsprogs", ("-q", "-f")),
    "btrfs": ("mkfs.btrfs", "btrfs-progs", ("-q", "-f")),
}
SMALLEST_BYTES = {"ext4": 32 << 20, "xfs": 512 << 20, "btrfs": 256 << 20}
KINDS = tuple(_MAKERS)

_SHUTDOWN = 0x8004587D  # XFS_IOC_GOINGDOWN and EXT4_IOC_SHUTDOWN of the kernel
_WITHOUT_LOG_FLUSH = 2


class Disk:
    """An image file with a file system, mounted at a directory, taken out and put back at will."""

    def __init__(
        self,
        directory: Path,
        kind: str = "ext4",
        size_bytes: int = 0,
        *,
        options: tuple[str, ...] = (),
        more_words: tuple[str, ...] = (),
    ) -> None:
        """`options` are for mount, `more_words` for mkfs."""
        self.path = directory
        self.kind = kind
        self.image = directory.with_name(directory.name + ".img")
        self.device: str | None = None
        self._options = options
        self._more_words = more_words
        self._is_frozen = False
        directory.mkdir(parents=True, exist_ok=True)
        self._size_bytes = size_bytes or SMALLEST_BYTES[kind]
        self.make()

    def make(self) -> None:
        """A fresh file system: another disk."""
        with open(self.image, "wb") as image:
            image.truncate(self._size_bytes)
        maker, package, options = _MAKERS[self.kind]
        run(tool(maker, package), *options, *self._more_words, self.image)

    def put_in(self) -> Disk:
        self.device = run(tool("losetup", "mount"), "--find", "--show", self.image).stdout.strip()
        options = ("-o", ",".join(self._options)) if self._options else ()
        run("mount", *options, self.device, self.path)
        return self

    def take_out(self) -> None:
        """Unmounted and detached; the directory beneath stays, empty."""
        self.thaw()
        while is_mounted(self.path):
            if run("umount", self.path, check=False).returncode != 0:
                run("umount", "-l", self.path)
        if self.device is not None:
            run("losetup", "-d", self.device, check=False)
            self.device = None

    # Faults

    def pull(self) -> None:
        """Unmounted lazily and detached while in use: who has it open keeps it, its path is empty."""
        run("umount", "-l", self.path)
        if self.device is not None:
            run("losetup", "-d", self.device, check=False)
            self.device = None

    def shut_down(self) -> None:
        """What a power cut leaves, at once: EIO for everybody, what is not durable is lost. Not on btrfs."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG_FLUSH))
        finally:
            os.close(fd)

    def make_read_only(self) -> None:
        """As the kernel does with an ext4 in trouble; of the others, while nothing is open for writing."""
        run("mount", "-o", "remount,abort" if self.kind == "ext4" else "remount,ro", self.path)

    def make_unreadable(self) -> None:
        """The device ends after its first blocks: EIO for what is not in memory. Until something is written
        beyond: then the image grows again, and what is between reads as zeros."""
        assert self.device is not None, "not put in"
        for path in self.path.rglob("*"):
            if path.is_file() and not path.is_symlink():
                forget_pages(path)
        run(tool("blockdev", "util-linux"), "--flushbufs", self.device)
        os.truncate(self.image, 64 << 10)

    def freeze(self) -> None:
        """Writes hang. Never call sync(2) meanwhile: it waits for this file system, too."""
        run(tool("fsfreeze", "util-linux"), "-f", self.path)
        self._is_frozen = True

    def thaw(self) -> None:
        if self._is_frozen:
            run(tool("fsfreeze", "util-linux"), "-u", self.path)
            self._is_frozen = False

    def fill(self, leave_bytes: int, ballast: Path | None = None) -> Path:
        """Take all room but so much; returns the ballast, to be unlinked. It lies in the leg's own folder,
        where neither the volume nor the comparisons look, or where it is said."""
        ballast = ballast or self.path / ".twinfs/quarantine/ballast"
        with open(ballast, "wb") as file:
            for tries_left in reversed(range(20)):
                space = os.statvfs(self.path)
                size = space.f_bavail * space.f_frsize - leave_bytes
                try:
                    os.posix_fallocate(file.fileno(), 0, max(1, size))
                except OSError as error:
                    # Somebody who writes meanwhile was quicker.
                    if error.errno != errno.ENOSPC or not tries_left:
                        raise
                    file.truncate(0)
                else:
                    break
        return ballast


def forget_pages(path: Path) -> None:
    """A file's clean pages leave the memory; dirty ones are written first."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Neither changed, nor linked, nor removed, not even by root; see chattr(1)."""
    run(tool("chattr", "e2fsprogs"), "+i", path)
    try:
        yield
    finally:
        run(tool("chattr", "e2fsprogs"), "-i", path)
