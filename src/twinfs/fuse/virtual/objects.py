"""Objects that exist in the mounted tree alone: the volume's own `.twinfs/`, found by name and never listed.

A provider of a subtree makes a `VirtualDirectory` of its own and names it in the directory above; numbers,
handles and errnos are not its business. Everything here is read-only.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

FIRST_VIRTUAL: Final = (1 << 63) - (1 << 32)
"""Node numbers from here on are virtual. File systems count up from 1, and objects of other file systems
inside a leg have bit 62 and count up as well (mirror/nodes.py): neither gets this far."""

_SNAPSHOT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What stat(2) tells. `mode` includes the type; it never has a write bit."""

    mode: int
    size_bytes: int
    mtime_ns: int
    uid: int
    gid: int
    links: int = 0
    """0: as many as such an object has by itself."""
    blocks: int = -1
    """-1: as many as the size takes."""
    atime_ns: int | None = None
    """None: as mtime_ns; so with ctime_ns."""
    ctime_ns: int | None = None


class VirtualObject(ABC):
    """One object. Its facts and contents never change: what changes is another object under the same name.

    So the kernel may keep what it has read, and a size that was told stays right. Objects that are equal
    are the same file to users, with one inode number while the kernel knows it.
    """

    is_replaced: bool = False
    """Whether the name may lead to another object the next time."""

    @abstractmethod
    def facts(self) -> Facts: ...

    async def xattrs(self) -> Mapping[bytes, bytes]:
        """Extended attributes; an ACL among them counts for who may do what."""
        return {}


class VirtualDirectory(VirtualObject):
    """A directory; its entries may change, its facts do not."""

    @abstractmethod
    async def find(self, name: bytes) -> VirtualObject | None:
        """What stands at `name`, or None. An OSError is the caller's answer."""

    @abstractmethod
    async def entries(self) -> Sequence[tuple[bytes, VirtualObject]]:
        """Everything to be listed, without `.` and `..`."""


class VirtualFile(VirtualObject):
    """A regular file."""

    @abstractmethod
    async def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end."""


class VirtualLink(VirtualObject):
    """A symbolic link."""

    @abstractmethod
    async def target(self) -> bytes: ...


class NamedDirectory(VirtualDirectory):
    """A directory of fixed names, each with the function that finds what stands there now."""

    def __init__(self, children: Mapping[bytes, Callable[[], Awaitable[VirtualObject]]]) -> None:
        self._children = children
        self._facts = Facts(stat.S_IFDIR | 0o555, 0, time.time_ns(), os.geteuid(), os.getegid())

    def facts(self) -> Facts:
        return self._facts

    async def find(self, name: bytes) -> VirtualObject | None:
        child = self._children.get(name)
        return None if child is None else await child()

    async def entries(self) -> Sequence[tuple[bytes, VirtualObject]]:
        return [(name, await child()) for name, child in self._children.items()]


class TextFile(VirtualFile):
    """A text of one moment."""

    is_replaced = True

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._facts = Facts(stat.S_IFREG | 0o444, len(content), time.time_ns(), os.geteuid(), os.getegid())

    def facts(self) -> Facts:
        return self._facts

    async def read(self, offset: int, size: int) -> bytes:
        return self.content[offset : offset + size]


class Snapshots:
    """A text that changes, as a file that is replaced: at most once a second, so that whoever looks at it
    and then opens it finds the same."""

    def __init__(
        self, text: Callable[[], Awaitable[bytes]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._text = text
        self._clock = clock
        self._taken = float("-inf")
        self._last = TextFile(b"")

    async def __call__(self) -> TextFile:
        if self._clock() - self._taken >= _SNAPSHOT_SECONDS:
            content = await self._text()
            if content != self._last.content:
                self._last = TextFile(content)
            self._taken = self._clock()
        return self._last


class _Known:
    """An object that the kernel has references to."""

    __slots__ = ("lookups", "object", "parent")

    def __init__(self, found: VirtualObject, parent: int) -> None:
        self.object = found
        self.parent = parent
        self.lookups = 0


class VirtualTable:
    """Numbers of the objects that the kernel refers to. A number is never used twice."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._numbers: dict[VirtualObject, int] = {}
        self._next = FIRST_VIRTUAL

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, number: int) -> VirtualObject:
        """ESTALE for a number that the kernel has forgotten."""
        return self._get(number).object

    def parent_of(self, number: int) -> int:
        return self._get(number).parent

    def directory(self, number: int) -> VirtualDirectory:
        """ENOTDIR for anything else."""
        found = self[number]
        if not isinstance(found, VirtualDirectory):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return found

    def file(self, number: int) -> VirtualFile:
        """EINVAL for anything else."""
        found = self[number]
        if not isinstance(found, VirtualFile):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return found

    def looked_up(self, found: VirtualObject, parent: int) -> int:
        """The object's number; the kernel got a reference to it."""
        number = self._numbers.get(found)
        if number is None:
            number = self._numbers[found] = self.new_number()
            self._known[number] = _Known(found, parent)
        self._known[number].lookups += 1
        return number

    def forget(self, number: int, lookups: int) -> None:
        """The kernel dropped `lookups` references."""
        known = self._known.get(number)
        if known is None:
            return
        known.lookups -= lookups
        if known.lookups <= 0:
            del self._known[number]
            del self._numbers[known.object]

    def new_number(self) -> int:
        """For an object, or for an open directory."""
        self._next += 1
        return self._next - 1

    def _get(self, number: int) -> _Known:
        try:
            return self._known[number]
        except KeyError:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None
