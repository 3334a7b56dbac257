"""Fuzzing led by coverage: `python -m images.guided IMAGE CORPUS SECONDS [libFuzzer's options]`.

IMAGE is one that our readers can read; each input says what to change in it, so that inputs stay short and
most of the image stays sound. Of an input's first byte, one bit lets every checksum pass: what is behind
it would never be reached otherwise. IMAGE may be `-`: then an input is all of a disk.

Anything but an ImageError, more than ten seconds of work or 512 MB ends it with an exit code other than
zero, and the input is kept beside the corpus; `python -m images.guided IMAGE INPUT` does it again.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import atheris

with atheris.instrument_imports(include=["twinfs.images"]):
    import twinfs.images.erofs.file_system
    import twinfs.images.lvm
    import twinfs.images.xfs.file_system
    from twinfs.errors import ImageError
    from twinfs.images.containers import ewf
    from twinfs.images.luks import header2
    from twinfs.images.lvm import label
    from twinfs.images.partitions import gpt
    from twinfs.images.xfs import disk, superblock

from images import fuzzing
from images.fuzzing import Damaged, use_all
from unit.images.memory import MemorySource

MOST_INPUT_BYTES = 4096
MOST_DISK_BYTES = 128 << 10
_CHECKED = ((gpt, "zlib"), (ewf, "zlib"), (label, "zlib"), (header2, "hashlib"))
_OWN = tuple((module, name, getattr(module, name)) for module, name in _CHECKED)
_OWN_CRC32C = disk.crc32c


class _Fits(int):
    """A checksum equal to whatever is stored."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__

    def __xor__(self, other: int) -> _Fits:
        return self


class _Fitting:
    """A module of checksums whose results all fit; the rest of it is as it was."""

    def __init__(self, module: object) -> None:
        self._module = module

    def __getattr__(self, name: str) -> object:
        if name in ("crc32", "adler32"):
            return lambda *_: _Fits(0)
        if name == "sha256":
            return lambda *_: SimpleNamespace(digest=lambda: _Fits(0))
        return getattr(self._module, name)


def let_checksums_pass(is_wanted: bool) -> None:
    for module, name, own in _OWN:
        setattr(module, name, _Fitting(own) if is_wanted else own)
    for user in (disk, superblock):
        user.crc32c = (lambda _: _Fits(0)) if is_wanted else _OWN_CRC32C


class Input:
    """Bytes, taken from the front; zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        return found.ljust(count, b"\0")

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")


def changes(given: Input, source: Damaged, blocks: list[int]) -> Iterator[tuple[int, bytes]]:
    """(offset in the image, bytes to put there). Where nothing is, nothing is changed."""
    front = blocks[: max(1, len(blocks) // 8)]
    while given:
        kind = given.number(1)
        among = front if kind & 0x80 else blocks
        place = given.number(3)
        at = among[(place >> 9) % len(among)] + place % 512
        if kind & 7 == 7:
            yield at - at % 512, source.read_at(among[given.number(3) % len(among)], 512)
        elif kind & 0x78 == 0x78:
            source.size_bytes = max(1, at)
        else:
            yield at, given.take((1, 2, 4, 4, 8, 8, 16)[kind & 7])


def within_limits(call: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Ends what works too long with TimeoutError. Work is counted, not waiting: machines may be busy."""

    def hang(*_: object) -> None:
        raise TimeoutError(f"more than {fuzzing.PATIENCE_SECONDS} s of work")

    signal.signal(signal.SIGVTALRM, hang)

    def limited(data: bytes) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, fuzzing.PATIENCE_SECONDS)
        try:
            call(data)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    return limited


def target(path: str) -> Callable[[bytes], None]:
    """What libFuzzer calls with each input."""
    fuzzing.MAX_OBJECTS = 60
    if path == "-":

        def whole(data: bytes) -> None:
            let_checksums_pass(data[:1] > b"\x7f")
            use_all(MemorySource(data[1:]))

        return whole
    source = Damaged(Path(path))
    blocks = source.used_blocks()
    whole_size = source.size_bytes

    def patched(data: bytes) -> None:
        given = Input(data)
        let_checksums_pass(bool(given.number(1) & 1))
        source.size_bytes, source.changes = whole_size, []
        source.changes = list(changes(given, source, blocks))
        use_all(source)

    return patched


def main() -> None:
    path, corpus = sys.argv[1], Path(sys.argv[2])
    call = within_limits(target(path))
    assert ImageError and twinfs.images.xfs.file_system
    if corpus.is_file():
        call(corpus.read_bytes())
        return
    corpus.mkdir(parents=True, exist_ok=True)
    longest = MOST_DISK_BYTES if path == "-" else MOST_INPUT_BYTES
    options = [
        f"-max_total_time={sys.argv[3]}",
        f"-max_len={longest}",
        f"-timeout={12 * fuzzing.PATIENCE_SECONDS}",  # for what hangs without working
        f"-rss_limit_mb={fuzzing.MAX_MEMORY_KIB >> 10}",
        f"-artifact_prefix={corpus}.",
        "-len_control=0",
        "-print_final_stats=1",
        *sys.argv[4:],
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], call)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
