"""What a fault layer does to which requests: rules, their counters, and waiting."""

from __future__ import annotations

import errno
import fnmatch
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import trio

CHANGING = (
    *("setattr", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link", "create"),
    *("write", "setxattr", "removexattr"),
)
"""The operations, under pyfuse3's names, that change something."""
DURABLE = ("fsync", "fsyncdir")
EVERYTHING = ("*",)


@dataclass
class Rule:
    """Which requests it meets, and what becomes of them. All that is left out means "no fault".

    `path` is a pattern of fnmatch(3) for the path below the leg's root; a rename is met by either of its
    paths. The first `after` requests pass unharmed, then `times` are met (0: all that come).

    `errno`: the answer, by name. `delay_seconds`: before the answer. `is_hanging`: no answer until the
    rule is released. `is_lying`: "done", though nothing was done. `short_bytes`: a write of more takes
    only so many. `room_bytes`: so many bytes can still be written, then ENOSPC.
    """

    operations: Sequence[str]
    path: str = "*"
    after: int = 0
    times: int = 0
    errno: str = ""
    delay_seconds: float = 0.0
    is_hanging: bool = False
    is_lying: bool = False
    short_bytes: int = 0
    room_bytes: int = -1


def rule_of(values: dict[str, Any]) -> Rule:
    """Of what came through the socket. Raises TypeError and ValueError: a test that misspells must fail."""
    rule = Rule(**values)
    if rule.errno and not hasattr(errno, rule.errno):
        raise ValueError(f"no such errno: {rule.errno}")
    return rule


def values_of(rule: Rule) -> dict[str, Any]:
    return {each.name: getattr(rule, each.name) for each in fields(Rule)}


class FaultError(Exception):
    """The request's answer."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.errno = code


@dataclass
class Verdict:
    """What a handler must do otherwise; `limit_bytes` is None where it may write all."""

    is_lying: bool = False
    limit_bytes: int | None = None


@dataclass
class Active:
    """A rule at work."""

    rule: Rule
    seen: int = 0
    hits: int = 0
    waiting: int = 0
    released: trio.Event = field(default_factory=trio.Event)

    def meets(self, operation: str, paths: Sequence[str]) -> bool:
        rule = self.rule
        if "*" not in rule.operations and operation not in rule.operations:
            return False
        if not any(fnmatch.fnmatchcase(path, rule.path) for path in paths):
            return False
        self.seen += 1
        if self.seen <= rule.after or (rule.times and self.hits >= rule.times):
            return False
        self.hits += 1
        return True


class RuleBook:
    """All rules at work, asked in the order in which they were made."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._active: dict[int, Active] = {}

    def add(self, rule: Rule) -> int:
        number = next(self._numbers)
        self._active[number] = Active(rule)
        return number

    def remove(self, number: int) -> None:
        """Also lets go of whoever waits in it. One that `clear` has removed already is no mistake."""
        if (active := self._active.pop(number, None)) is not None:
            active.released.set()

    def clear(self) -> None:
        for number in list(self._active):
            self.remove(number)

    def counts(self, number: int) -> dict[str, int]:
        active = self._active[number]
        return {"hits": active.hits, "waiting": active.waiting}

    async def judge(self, operation: str, *paths: bytes, size_bytes: int = 0) -> Verdict:
        """Waits as long as the rules say; FaultError is the answer they give."""
        verdict = Verdict()
        names = [os.fsdecode(path) for path in paths]
        for active in list(self._active.values()):
            if active.meets(operation, names):
                await self._apply(active, verdict, size_bytes)
        return verdict

    async def _apply(self, active: Active, verdict: Verdict, size_bytes: int) -> None:
        rule = active.rule
        if rule.delay_seconds:
            await trio.sleep(rule.delay_seconds)
        if rule.is_hanging:
            active.waiting += 1
            await active.released.wait()
            active.waiting -= 1
        if rule.errno:
            raise FaultError(getattr(errno, rule.errno))
        verdict.is_lying = verdict.is_lying or rule.is_lying
        if rule.short_bytes:
            verdict.limit_bytes = min(size_bytes, rule.short_bytes)
        if rule.room_bytes >= 0:
            if size_bytes and not rule.room_bytes:
                raise FaultError(errno.ENOSPC)
            verdict.limit_bytes = min(size_bytes, rule.room_bytes)
            rule.room_bytes -= verdict.limit_bytes
