"""What a leg's versions take, and what of them has to go."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from twinfs.mirror.folders import VERSIONS
from twinfs.mirror.versions import segments
from twinfs.mirror.versions.dropping import drop
from twinfs.mirror.versions.window import Window
from twinfs.model import Held

FREE_SHARE: Final = 100
"""A leg keeps a hundredth of its room free of versions, also as the primary, whose users need it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`ended_ns` is when something was last kept there, `used_bytes` what its objects take."""

    name: bytes
    ended_ns: int
    used_bytes: int


class Ledger:
    """What one leg's versions take. A segment that nobody writes to is read once. Any one thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, Segment]] = {}

    def look(self, root_fd: int) -> list[Segment]:
        """The oldest first. OSError."""
        found = []
        for name in segments.names(root_fd):
            try:
                log = os.stat(b"%s/%s/%s" % (VERSIONS, name, segments.LOG_NAME), dir_fd=root_fd)
            except FileNotFoundError:
                found.append(Segment(name, segments.begun_ns(name), 0))
                continue
            known = self._known.get(name)
            if known is None or known[0] != log.st_size:
                used = log.st_blocks * 512 + segments.read(root_fd, name).used_bytes
                known = log.st_size, Segment(name, log.st_mtime_ns, used)
                self._known[name] = known
            found.append(known[1])
        names = {segment.name for segment in found}
        self._known = {name: known for name, known in self._known.items() if name in names}
        return found

    def held(self, root_fd: int) -> Held:
        """OSError."""
        return _held(self.look(root_fd))

    def trim(self, root_fd: int, window: Window, now_ns: int, *, but: bytes | None) -> tuple[Held, bool]:
        """Drop what is too old or too much; what there is then, and whether the segment `but`, which is being
        written, should go too. OSError."""
        found = self.look(root_fd)
        space = os.fstatvfs(root_fd)
        limit = window.limit_bytes(space)
        floor = space.f_blocks * space.f_frsize // FREE_SHARE
        oldest_ns = now_ns - int(window.seconds * 1e9)
        while found:
            segment = found[0]
            is_full = space.f_bavail * space.f_frsize < floor and segment.used_bytes > 0
            is_too_much = sum(each.used_bytes for each in found) > limit
            if segment.ended_ns >= oldest_ns and not is_too_much and not is_full:
                break
            if segment.name == but:
                return _held(found), True
            drop(root_fd, segment.name)
            found.pop(0)
            space = os.fstatvfs(root_fd)
        return _held(found), False


def together(found: Iterable[Held]) -> Held:
    """Of both legs."""
    legs = list(found)
    since = [held.since for held in legs if held.since is not None]
    return Held(sum(held.bytes for held in legs), min(since, default=None))


def _held(found: list[Segment]) -> Held:
    since = segments.begun_ns(found[0].name) / 1e9 if found else None
    return Held(sum(segment.used_bytes for segment in found), since)
