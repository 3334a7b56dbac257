"""What happens to a secondary in a soak: each trouble begins, lasts a while, and ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.disks import Disk
from support.faultfs import CHANGING, DURABLE, EVERYTHING, FaultLayer, Rule
from support.volume import wait_until

_NAMES = ("*name3*", "*name5*", "*/a/*", "*deep*", "*journal*", ".twinfs/tmp/*")
_LEG_ERRORS = ("EIO", "ENODEV", "EROFS", "ESTALE", "ETIMEDOUT")
_OBJECT_ERRORS = ("ENOSPC", "EDQUOT", "EPERM", "EACCES")


class Secondary:
    """A fault layer over a disk: both can be broken."""

    def __init__(self, base: Path, kind: str) -> None:
        self.disk = Disk(base / "disk", kind, 640 << 20).put_in()
        self.layer = FaultLayer(base / "disk/leg", base / "second")
        self.layer.start()

    @property
    def is_there(self) -> bool:
        return self.layer.is_running

    def clear(self) -> None:
        """Whatever was wrong is not any more."""
        if self.layer.is_running:
            self.layer.thaw()
            self.layer.clear()
        else:
            self._put_in()

    def _put_in(self) -> None:
        def is_mounted_again() -> bool:
            try:
                self.disk.put_in()
            except AssertionError:
                self.disk.take_out()
                return False
            return True

        if self.disk.device is None:
            wait_until(is_mounted_again, 60, "the disk cannot be mounted again")
        self.layer.start()

    def pull(self) -> None:
        """The disk is gone, with what it had not yet been asked to keep."""
        if self.disk.kind != "btrfs":
            self.disk.shut_down()
        self.layer.kill()
        self.disk.take_out()

    def take_out(self) -> None:
        self.layer.kill()
        self.disk.take_out()


@contextmanager
def rule(leg: Secondary, each: Rule) -> Iterator[None]:
    active = leg.layer.add(each)
    yield
    if leg.layer.is_running:
        active.remove()


@contextmanager
def _gone(leg: Secondary, fall: Callable[[], None]) -> Iterator[None]:
    fall()
    yield
    leg.clear()


@contextmanager
def _full(leg: Secondary) -> Iterator[None]:
    ballast = leg.disk.fill(256 << 10, leg.disk.path / "ballast")
    yield
    ballast.unlink()


@contextmanager
def _frozen(leg: Secondary) -> Iterator[None]:
    leg.layer.freeze()
    yield
    leg.layer.thaw()


def random_trouble(leg: Secondary, rng: random.Random) -> tuple[str, Callable[[], object]]:
    """(its name, a function that makes its context manager)."""
    some = rng.sample(CHANGING, 3)
    few = {"after": rng.randrange(20), "times": rng.randrange(1, 4)}
    rules = (
        ("the leg fails", Rule(EVERYTHING, errno=rng.choice(_LEG_ERRORS))),
        ("some operations fail a few times", Rule(some, errno=rng.choice(_LEG_ERRORS), **few)),
        ("fsync fails", Rule(DURABLE, errno=rng.choice(("EIO", "ENOSPC")), times=2)),
        ("some objects are refused", Rule(CHANGING, rng.choice(_NAMES), errno=rng.choice(_OBJECT_ERRORS))),
        ("everything is refused", Rule(CHANGING, errno=rng.choice(_OBJECT_ERRORS))),
        ("slow", Rule(EVERYTHING, delay_seconds=rng.uniform(0.001, 0.02))),
        ("some operations hang", Rule(some, is_hanging=True, **few)),
        ("writes come short", Rule(("write",), short_bytes=rng.randrange(1, 5000))),
        ("room for little", Rule(("write",), room_bytes=rng.randrange(100_000))),
        ("reading fails", Rule(("read", "readdir", "open", "lookup"), errno="EIO", **few)),
    )
    others = (
        ("frozen", lambda: _frozen(leg)),
        ("the layer dies", lambda: _gone(leg, leg.layer.kill)),
        ("the disk is pulled", lambda: _gone(leg, leg.pull)),
        ("the disk is full", lambda: _full(leg)),
    )
    if rng.random() < 0.35:
        return rng.choice(others)
    name, each = rng.choice(rules)
    return f"{name}: {each}", lambda: rule(leg, each)
