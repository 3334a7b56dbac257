"""Damages an image in memory, over and over, and uses all of it: `python -m images.fuzzing FILE SEED COUNT`.

Runs with the limits of a reader and an alarm. Prints one line for each damage after which anything but an
ImageError came out, with the number that makes it again.
"""

from __future__ import annotations

import itertools
import random
import signal
import stat
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from twinfs.errors import ImageError
from twinfs.images.containers.open import open_nested
from twinfs.images.info import describe
from twinfs.images.luks import derive
from twinfs.images.sources import FileSource
from twinfs.images.tree import ImageTree
from twinfs.images.volumes import Image
from twinfs.images.worker.limits import apply_limits

PATIENCE_SECONDS = 10
MAX_OBJECTS = 400
PASSPHRASE = b"open sesame"
MAX_ITERATIONS = 100_000
"""What takes longer is bounded, and by nothing that depends on the machine's speed: see test_luks."""
MAX_MEMORY_KIB = 512 << 10
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1)


class Damaged:
    """A file with some of its bytes changed, and perhaps its end cut off; nothing is copied."""

    def __init__(self, path: Path) -> None:
        self._source = FileSource(str(path))
        self.changes: list[tuple[int, bytes]] = []
        self.size_bytes = self._source.size_bytes

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        length = min(length, self.size_bytes - offset_bytes)
        if length <= 0 or offset_bytes < 0:
            return b""
        found = bytearray(self._source.read_at(offset_bytes, length))
        for at, change in self.changes:
            first, last = max(at, offset_bytes), min(at + len(change), offset_bytes + len(found))
            if first < last:
                found[first - offset_bytes : last - offset_bytes] = change[first - at : last - at]
        return bytes(found)

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        return self._source.data_ranges(offset_bytes, min(length, self.size_bytes - offset_bytes))

    def used_blocks(self) -> list[int]:
        """Where anything is: structures are among it, holes are not."""
        return [
            at
            for start, length in self._source.data_ranges(0, self._source.size_bytes)
            for at in range(start, start + length, 512)
            if self._source.read_at(at, 512).strip(b"\0")
        ]

    def damage(self, blocks: list[int], number: int) -> None:
        chance = random.Random(number)
        self.size_bytes = self._source.size_bytes
        self.changes = []
        # The head of every format is where most of its structures are.
        front = blocks[: max(1, len(blocks) // 8)]
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            at = chance.choice(chance.choice((front, blocks))) + chance.randrange(512)
            self.changes.append(self._change(chance, at, blocks))
        if chance.randrange(12) == 0:
            self.size_bytes = chance.randrange(1, self.size_bytes)

    def _change(self, chance: random.Random, at: int, blocks: list[int]) -> tuple[int, bytes]:
        match chance.randrange(6):
            case 0:
                return at, bytes([(self._source.read_at(at, 1) or b"\0")[0] ^ 1 << chance.randrange(8)])
            case 1:
                return at, chance.randbytes(1)
            case 2 | 3:
                width, order = chance.choice((2, 4, 8)), chance.choice(("little", "big"))
                value = chance.choice(INTERESTING) & (1 << 8 * width) - 1
                return at - at % width, value.to_bytes(width, order)
            case 4:
                return at - at % 512, self._source.read_at(chance.choice(blocks), 512)
            case _:
                return at, chance.randbytes(64)


def use_all(source: Damaged) -> None:
    """Everything that can be asked of an image. ImageErrors are answers."""
    try:
        image = Image(open_nested(source, "damaged"))
    except ImageError:
        return
    unlock(image)
    describe(image)
    tree = ImageTree(image)
    left = itertools.count(MAX_OBJECTS, -1)
    pending = [(tree.root_inode, 0)]
    while pending:
        inode, depth = pending.pop()
        try:
            for entry, found in tree.list_with_stat(inode):
                assert entry.name not in (b"", b".", b"..")
                assert not {0, 0x2F} & set(entry.name)
                if stat.S_ISDIR(found.mode) and depth < 40:
                    pending.append((entry.inode, depth + 1))
                use_one(tree, inode, entry.inode, entry.name)
                if next(left) <= 0:
                    return
        except ImageError:
            continue


def unlock(image: Image) -> None:
    try:
        while (wanted := image.wanted_key()) is not None and wanted.iterations <= MAX_ITERATIONS:
            image.add_key(wanted, derive(PASSPHRASE, wanted))
    except ImageError:
        return


def use_one(tree: ImageTree, parent: int, inode: int, name: bytes) -> None:
    def tried(call, *arguments):
        try:
            return call(*arguments)
        except ImageError:
            return None

    tried(tree.lookup, parent, name)
    tried(tree.xattrs, inode)
    found = tried(tree.stat, inode)
    if found is None:
        return
    if stat.S_ISLNK(found.mode):
        tried(tree.readlink, inode)
    if stat.S_ISREG(found.mode):
        for at in (0, found.size_bytes // 2, max(0, found.size_bytes - 10)):
            piece = tried(tree.read, inode, at, 4096)
            assert piece is None or len(piece) <= 4096
        tried(lambda: list(itertools.islice(tree.data_ranges(inode), 1000)))
        tried(tree.extents, inode)


def peak_kib() -> int:
    """Of this program: ru_maxrss is also that of the process it was started from, see getrusage(2)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    path, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    apply_limits()
    source = Damaged(path)
    blocks = source.used_blocks()

    def hang(*_: object) -> None:
        raise TimeoutError(f"longer than {PATIENCE_SECONDS} s")

    signal.signal(signal.SIGALRM, hang)
    for number in range(seed, seed + count):
        signal.alarm(PATIENCE_SECONDS)
        try:
            source.damage(blocks, number)
            use_all(source)
        except BaseException as error:  # noqa: BLE001  whatever it is, it is a finding
            signal.alarm(0)
            last = traceback.extract_tb(error.__traceback__)[-1]
            print(f"{number}: {type(error).__name__}: {error} at {last.filename}:{last.lineno}", flush=True)
        signal.alarm(0)
    peak = peak_kib()
    if peak > MAX_MEMORY_KIB:
        print(f"took {peak} KiB of memory", flush=True)


if __name__ == "__main__":
    main()
