"""Legs whose bytes are made to differ behind the volume's back: so an answer tells which leg it is from."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from twinfs.mirror.nodes import Node
from twinfs.model import Mode, ReadPolicy
from unit.mirror.kit import Ground, User, new_ground

OURS, THEIRS = b"of the primary..", b"of the secondary"
MIB = 1 << 20


def ground_in(base: Path, mode: Mode, policy: ReadPolicy = ReadPolicy.BALANCE, **more: object) -> Ground:
    ground = new_ground(base, mode, **more)  # type: ignore[arg-type]  # passed through
    return Ground(ground.base, replace(ground.config, read_policy=policy))


def make_them_differ(ground: Ground, name: str = "f", content: bytes = THEIRS) -> None:
    path = ground.secondary / name
    times = path.stat()
    with open(path, "r+b") as file:
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def prefer(user: User, leg: int) -> None:
    user.volume.content.reads._sooner = lambda request: leg  # type: ignore[method-assign]


async def put(user: User, content: bytes = OURS) -> Node:
    """On both legs, equal; and open."""
    await user.put("f", content)
    await user.volume.sync()
    node = user.lookup("f")
    await user.volume.content.open(node, os.O_RDWR)
    return node


async def answer(user: User, node: Node, offset: int = 0, size: int = 16) -> bytes:
    return bytes(await user.volume.content.read(node, offset, size))
