"""Random calls on an image with an overlay, and on a plain copy: each answers alike."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from fuse.overlays.making import OLD_ONLY, REMADE, extracted
from support import tree
from support.machine import needs_root, outcome, run
from support.mounted_image import kill, unmount
from support.odd_tree import SECOND

pytestmark = needs_root  # for owners and nodes in the images


class Model:
    """Random calls on two directories at once; each must answer alike."""

    def __init__(self, plain: Path, changed: Path, seed: int) -> None:
        self._roots = (os.fsencode(plain), os.fsencode(changed))
        self._chance = random.Random(seed)

    def _paths(self) -> list[bytes]:
        """Of the plain one, relative, sorted: the same in every run."""
        base = self._roots[0]
        found = []
        for directory, names, files in os.walk(base):
            found += [(directory + b"/" + name)[len(base) + 1 :] for name in (*names, *files)]
        return sorted(found)

    def _new_name(self) -> bytes:
        paths = [b"", *self._paths()]
        directories = [path for path in paths if os.path.isdir(self._roots[0] + b"/" + path)]
        name = self._chance.choice((b"a", b"b", b"\xff", b"new\nline", b"n" * 255, b"small", b"d"))
        return os.path.join(self._chance.choice(directories), name)

    def step(self) -> None:
        one, other = self._chance.choice(self._paths()), self._chance.choice(self._paths())
        new, at = self._new_name(), self._chance.randrange(400_000)
        data = self._chance.randbytes(self._chance.choice((1, 100, 5000, 70_000, 200_000)))
        call = self._chance.choice((self.write, self.write, self.cut, self.remove, self.rename, self.rename,
                                    self.over, self.link, self.make, self.list, self.attributes))  # fmt: skip
        seen = [outcome(call, root, one, other, new, at, data) for root in self._roots]
        assert seen[0] == seen[1], (call.__name__, one, other, new, at)

    @staticmethod
    def write(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        path = root + b"/" + (one if at % 3 else new)
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | (0 if at % 3 else os.O_CREAT), 0o640)
        try:
            os.pwrite(fd, data, at)
            return os.fstat(fd).st_size, os.pread(fd, 300_000, max(0, at - 1000))
        finally:
            os.close(fd)

    @staticmethod
    def cut(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        path = root + b"/" + one
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_TRUNC if at % 4 == 0 else 0))
        try:
            os.ftruncate(fd, at)
        finally:
            os.close(fd)
        return os.lstat(path).st_size

    @staticmethod
    def remove(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        path = root + b"/" + one
        return os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

    @staticmethod
    def rename(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return os.rename(root + b"/" + one, root + b"/" + new)

    @staticmethod
    def over(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return os.rename(root + b"/" + one, root + b"/" + other)

    @staticmethod
    def link(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return os.link(root + b"/" + one, root + b"/" + new, follow_symlinks=False)

    @staticmethod
    def make(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return os.mkdir(root + b"/" + new) if at % 3 else os.symlink(one or b"x", root + b"/" + new)

    @staticmethod
    def list(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        return sorted(os.listdir(root + b"/" + one))

    @staticmethod
    def attributes(root: bytes, one: bytes, other: bytes, new: bytes, at: int, data: bytes) -> object:
        path = root + b"/" + one
        os.chown(path, at, at + 1, follow_symlinks=False)
        os.utime(path, ns=(at, at * SECOND), follow_symlinks=False)
        if not os.path.islink(path):
            os.chmod(path, at & 0o7777 | 0o700)
            os.setxattr(path, b"user.%d" % (at % 3), data[:200])
        return None


def do_as_the_model(overlaid, image, overlay, workspace, seed: int, steps: int) -> None:
    plain = extracted(image, workspace / f"plain{seed}")
    mounted = overlaid()
    for root in (plain, mounted.path / "p0"):
        # Nodes cannot be opened on a mount without devices.
        run("rm", "-rf", *(root / name for name in ("many", "fifo", "char", "block", "socket")))
    for part in range(3):
        model = Model(plain, mounted.path / "p0", seed + part)
        for _ in range(steps):
            model.step()
        tree.assert_same(plain, mounted.path / "p0", ignore=OLD_ONLY)
        if part < 2:
            (kill if part else unmount)(mounted, overlay)
            mounted = overlaid()
            tree.assert_same(plain, mounted.path / "p0", ignore=OLD_ONLY)
    unmount(mounted, overlay)
    copied = extracted(image, workspace / f"copied{seed}", "--overlay", overlay)
    tree.assert_same(plain, copied, ignore=REMADE)


def test_random_calls_answer_as_on_a_plain_copy(overlaid, image, overlay, workspace):
    do_as_the_model(overlaid, image, overlay, workspace, 1000, 100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(0, 300, 10))
def test_many_random_calls_answer_as_on_a_plain_copy(overlaid, image, overlay, workspace, seed):
    do_as_the_model(overlaid, image, overlay, workspace, seed, 400)
