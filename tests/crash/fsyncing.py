"""A writer that makes durable what it writes, and notes it only then; and whether a directory kept that.

    python -m crash.fsyncing DIRECTORY LOG SEED

Lines of the log: `new N`, `append N`, `replace N`, `inplace N`. What was noted must survive any power cut.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from pathlib import Path

_RECORD = 64
_BLOCK = 4096
_BLOCKS = 16

Promises = Counter[str]
"""How many of each kind were noted."""


def content(kind: str, number: int) -> bytes:
    """Of the file, or of the record, with that number; sizes from nothing to some hundred kilobytes."""
    size = random.Random(f"{kind}{number}").choice((0, 10, 5000, 60_000, 300_000))
    return (f"{kind} {number} ".encode() * (size // 6 + 1))[:size]


def record(number: int) -> bytes:
    return f"record {number} ".encode().ljust(_RECORD, b".")


class Writer:
    def __init__(self, root: str) -> None:
        self._root = root
        self._journal = os.open(f"{root}/journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._inplace = os.open(f"{root}/inplace", os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(self._inplace, bytes(_BLOCK * _BLOCKS), 0)
        for fd in (self._journal, self._inplace):
            os.fsync(fd)

    def do_new(self, number: int) -> None:
        self._write_durably(f"{self._root}/new{number}", content("new", number))

    def _write_durably(self, path: str, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)

    def do_append(self, number: int) -> None:
        os.write(self._journal, record(number))
        os.fsync(self._journal)

    def do_replace(self, number: int) -> None:
        self._write_durably(f"{self._root}/replaced.tmp", content("replace", number))
        os.rename(f"{self._root}/replaced.tmp", f"{self._root}/replaced")
        fd = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def do_inplace(self, number: int) -> None:
        block = number.to_bytes(8, "big") * (_BLOCK // 8)
        os.pwrite(self._inplace, block * _BLOCKS, 0)
        os.fdatasync(self._inplace)

    def make_noise(self, number: int) -> None:
        """What nobody was promised."""
        Path(f"{self._root}/noise{number % 20}").write_bytes(b"noise" * (number % 5000))
        if number % 7 == 0:
            Path(f"{self._root}/noise{(number + 3) % 20}").unlink(missing_ok=True)


def main(root: str, log_path: str, seed: str) -> None:
    rng = random.Random(seed)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    writer = Writer(root)
    done: Promises = Counter()
    while True:
        kind = rng.choice(("new", "append", "replace", "inplace", "noise"))
        if kind == "noise":
            writer.make_noise(rng.randrange(1000))
            continue
        getattr(writer, f"do_{kind}")(done[kind])
        os.write(log, f"{kind} {done[kind]}\n".encode())
        done[kind] += 1


def promises(log: Path) -> Promises:
    """What has been noted until now."""
    return Counter(line.split()[0] for line in log.read_text().splitlines())


def broken(root: Path, kept: Promises) -> list[str]:
    """What of the promises the directory does not hold."""
    found = [
        f"new{number} is not whole"
        for number in range(kept["new"])
        if _read(root / f"new{number}") != content("new", number)
    ]
    journal = b"".join(record(number) for number in range(kept["append"]))
    if not (_read(root / "journal") or b"").startswith(journal):
        found.append(f"the journal has not all of {kept['append']} records")
    if kept["replace"] and not _is_version(_read(root / "replaced"), kept["replace"] - 1):
        found.append(f"replaced is older than version {kept['replace'] - 1}")
    if kept["inplace"]:
        data = _read(root / "inplace") or b""
        versions = {int.from_bytes(data[at : at + 8], "big") for at in range(0, _BLOCK * _BLOCKS, 8)}
        if len(data) != _BLOCK * _BLOCKS or min(versions) < kept["inplace"] - 1:
            found.append(f"inplace has {sorted(versions)[:5]} where {kept['inplace'] - 1} was durable")
    return found


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is_version(data: bytes | None, oldest: int) -> bool:
    """The noted version, or one of the next: the renames that came after it were under way."""
    return data is not None and any(
        data == content("replace", number) for number in range(oldest, oldest + 50)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
