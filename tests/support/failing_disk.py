"""A disk that really fails: one file in a FUSE mount, with bad sectors, slow ones, and other troubles.

Run as a program: `failing_disk.py MOUNTPOINT BACKING_FILE PLAN LOG` serves MOUNTPOINT/disk until
unmounted. The plan is JSON, read again whenever it changes: see `Plan`. Every read is logged: two 64-bit
numbers.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

SECTOR = 512
_READ = struct.Struct("=QQ")


@dataclass
class Plan:
    """`bad` and `slow` are (start, end) in bytes. `heals_after`: as many reads of a range fail."""

    bad: list[tuple[int, int]] = field(default_factory=list)
    slow: list[tuple[int, int]] = field(default_factory=list)
    slow_seconds: float = 0.2
    read_seconds: float = 0.0
    error: int = errno.EIO
    heals_after: int | None = None
    size_bytes: int | None = None


class FailingDisk:
    """Started in a process of its own; `path` is the file that fails."""

    def __init__(self, base: Path, content: bytes, plan: Plan | None = None) -> None:
        self.mountpoint = base / "failing"
        self.path = self.mountpoint / "disk"
        self.content = content
        self._backing, self._plan, self._log = (base / name for name in ("backing", "plan", "log"))
        self.mountpoint.mkdir()
        self._backing.write_bytes(content)
        self._log.touch()
        self.change(plan or Plan())
        words = [sys.executable, __file__, self.mountpoint, self._backing, self._plan, self._log]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self.path.exists():
            assert self._process.poll() is None, "the failing disk did not start"
            assert time.monotonic() < deadline, "the failing disk did not start in time"
            time.sleep(0.01)

    def change(self, plan: Plan) -> None:
        """From the next read on."""
        self.plan = plan
        temporary = self._plan.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(plan)))
        temporary.rename(self._plan)

    def reads(self) -> list[tuple[int, int]]:
        """(offset, length) of every read since `forget_reads`."""
        return list(_READ.iter_unpack(self._log.read_bytes()))

    def forget_reads(self) -> None:
        os.truncate(self._log, 0)

    def expected(self) -> bytes:
        """What can be had of it: zeros where it is bad."""
        found = bytearray(self.content)
        for start, end in self.plan.bad:
            found[start:end] = bytes(end - start)
        return bytes(found)

    def stop(self) -> None:
        subprocess.run(["fusermount3", "-u", "-z", self.mountpoint], check=False)
        self._process.wait(20)


def sectors(*numbers: int) -> list[tuple[int, int]]:
    return [(number * SECTOR, (number + 1) * SECTOR) for number in numbers]


def joined(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(offset, length) of sorted ranges, neighbours joined."""
    begin = end = -1
    for start, stop in sorted(ranges):
        if start > end:
            if begin >= 0:
                yield begin, end - begin
            begin, end = start, stop
        end = max(end, stop)
    if begin >= 0:
        yield begin, end - begin


# -- the program


def _serve(mountpoint: str, backing: str, plan_path: str, log_path: str) -> None:
    import pyfuse3
    import trio

    file_inode = pyfuse3.ROOT_INODE + 1
    backing_fd = os.open(backing, os.O_RDONLY)
    log_fd = os.open(log_path, os.O_WRONLY | os.O_APPEND)

    class Operations(pyfuse3.Operations):
        def __init__(self) -> None:
            super().__init__()
            self.seen = -1
            self.plan = Plan()
            self.failures: dict[tuple[int, int], int] = {}

        def current(self) -> Plan:
            changed = os.stat(plan_path).st_mtime_ns
            if changed != self.seen:
                self.seen = changed
                self.plan = Plan(**json.loads(Path(plan_path).read_text()))
                self.failures.clear()
            return self.plan

        async def getattr(self, inode, ctx=None):
            entry = pyfuse3.EntryAttributes()
            entry.st_ino = inode
            entry.st_mode = stat.S_IFREG | 0o444 if inode == file_inode else stat.S_IFDIR | 0o755
            size = self.current().size_bytes
            entry.st_size = os.fstat(backing_fd).st_size if size is None else size
            entry.attr_timeout = entry.entry_timeout = 0
            return entry

        async def lookup(self, parent_inode, name, ctx=None):
            if name != b"disk":
                raise pyfuse3.FUSEError(errno.ENOENT)
            return await self.getattr(file_inode)

        async def open(self, inode, flags, ctx):
            return pyfuse3.FileInfo(fh=inode, direct_io=True)

        async def read(self, fh, off, size):
            plan = self.current()
            os.write(log_fd, _READ.pack(off, size))
            whole = os.fstat(backing_fd).st_size if plan.size_bytes is None else plan.size_bytes
            size = max(0, min(size, whole - off))
            end = off + size
            if plan.read_seconds:
                await trio.sleep(plan.read_seconds)
            if any(start < end and off < stop for start, stop in plan.slow):
                await trio.sleep(plan.slow_seconds)
            for start, stop in plan.bad:
                if start < end and off < stop:
                    known = self.failures.get((start, stop), 0)
                    if plan.heals_after is None or known < plan.heals_after:
                        self.failures[start, stop] = known + 1
                        raise pyfuse3.FUSEError(plan.error)
            return os.pread(backing_fd, size, off)

    pyfuse3.init(Operations(), mountpoint, {*pyfuse3.default_options, "fsname=failing-disk"})
    trio.run(pyfuse3.main)
    pyfuse3.close()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
