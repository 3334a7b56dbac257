"""`make fuzz`: every format in turn, led by coverage, each for FUZZ_SECONDS. What was learnt is kept.

Images are made by the makers that the other tests use. Exit code 1: something was found, and each finding
was printed with the command that does it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from images.lvm import making as lvm
from images.test_damaged_images import FORMATS, TESTS
from images.xfs import damage as xfs
from support.images import MIB, blank, tool
from support.odd_tree import build
from unit.images.memory import MemorySource
from unit.images.partitions.test_mbr import entry, put_record


def xfs_of(make: Callable[[Path], Path]) -> Callable[[Path], None]:
    return lambda directory: void(make(directory).rename(directory / "image"))


def void(_: object) -> None:
    return


def volume_group(directory: Path) -> None:
    with lvm.disks(directory, 1, 4 * MIB) as made:
        made.lvm("pvcreate", "-ff", "-y", *made.devices)
        made.lvm("vgcreate", "--physicalextentsize", "128k", "group", *made.devices)
        made.create("-l", "5", "-n", "linear", "group", made.devices[0])
        made.create("-l", "2", "-n", "other", "group", made.devices[0])
    (directory / "pv0").rename(directory / "image")


def disklabel(directory: Path) -> None:
    parted(directory, "bsd", "")


def apple(directory: Path) -> None:
    parted(directory, "mac", "untitled")


def parted(directory: Path, label: str, kind: str) -> None:
    image = blank(directory / "image", 8 * MIB)
    words = ["parted", "--script", "--align", "none", str(image), "mklabel", label]
    for start, end in ((100, 4000), (5000, 9000)):
        words += ["mkpart", *([kind] if kind else []), "ext2", f"{start}s", f"{end}s"]
    tool(*words)


def from_a_tree(name: str) -> Callable[[Path], None]:
    make, wants = FORMATS[name]

    def made(directory: Path) -> None:
        build(directory / "tree", wants)
        make(directory / "tree", directory / "image")

    return made


MAKERS: dict[str, Callable[[Path], None]] = {
    "xfs_5": xfs_of(xfs.with_checksums),
    "xfs_4": xfs_of(xfs.without_checksums),
    "lvm": volume_group,
    "bsd": disklabel,
    "apm": apple,
    **{name: from_a_tree(name) for name in FORMATS},
}
WHOLE = "tables"
"""The format whose inputs are disks, from the first byte to the last."""


def tables() -> list[bytes]:
    """Disks of a few sectors with a table of each kind, to begin with."""
    chain = MemorySource.blank(80 * 512)
    put_record(chain, 0, entry(0x83, 2, 4), entry(0x05, 10, 60), entry(0xA5, 70, 9), entry(0xEE, 1, 79))
    put_record(chain, 10, entry(0x83, 1, 2), entry(0x05, 10, 20))
    put_record(chain, 20, entry(0x83, 1, 2), entry(0x05, 0, 20))
    label = bytearray(512)
    label[:4] = label[132:136] = bytes.fromhex("57455682")
    label[138:140] = b"\x04\0"
    for slot in range(4):
        label[148 + 16 * slot : 164 + 16 * slot] = bytes([8, 0, 0, 0, 71, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0])
    chain.put(71 * 512, bytes(label))
    apm = MemorySource.blank(12 * 512)
    apm.put(0, b"ER\x02\x00")
    for slot in (1, 2, 3):
        apm.put(slot * 512, b"PM\0\0\0\0\0\x03" + slot.to_bytes(4, "big") + b"\0\0\0\x02name")
    gpt = MemorySource.blank(40 * 512)
    put_record(gpt, 0, entry(0xEE, 1, 39))
    fields = (1, 39, 3, 30, 2, 8, 128)
    head = b"EFI PART\0\0\1\0\x5c\0\0\0" + bytes(8)
    own, other, first, last, at, count, size = fields
    head += b"".join(value.to_bytes(8, "little") for value in (own, other, first, last)) + bytes(16)
    gpt.put(512, head + at.to_bytes(8, "little") + count.to_bytes(4, "little") + size.to_bytes(4, "little"))
    for slot in range(3):
        places = (5 + slot).to_bytes(8, "little") * 2
        gpt.put(2 * 512 + 128 * slot, bytes([7] * 32) + places + bytes(8) + "name".encode("utf-16-le"))
    # The first byte says whether checksums are looked at, see guided.py.
    return [b"\xff" + bytes(disk.data) for disk in (chain, apm, gpt)]


def prepare(name: str, top: Path) -> str:
    """The image's path, made unless it is there; the corpus gets something to begin with."""
    corpus = top / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    begin = tables() if name == WHOLE else [b"\0", b"\1", b"\1\x84" + bytes(7)]
    for number, seed in enumerate(begin):
        (corpus / f"begin{number}").write_bytes(seed)
    if name == WHOLE:
        return "-"
    directory = top / "images" / name
    if not (directory / "image").exists():
        directory.mkdir(parents=True, exist_ok=True)
        MAKERS[name](directory)
    return str(directory / "image")


def fuzz(name: str, top: Path, seconds: int, *options: str) -> str:
    """What was found, with the command to do it again; empty: nothing."""
    words = [sys.executable, "-m", "images.guided", prepare(name, top)]
    corpus = top / "corpus" / name
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "MALLOC_ARENA_MAX": "2"}
    log = top / f"{name}.log"
    with log.open("w") as output:
        # A shell between: how much memory a process once had is handed down, and limited.
        shell = ["sh", "-c", '"$@"; exit $?', "sh"]
        command = [*shell, *words, str(corpus), str(seconds), *options]
        code = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False).returncode
    if code == 0:
        return ""
    again = "".join(f"\n    {' '.join(words)} {found}" for found in sorted(corpus.parent.glob(f"{name}.*-*")))
    return f"{name}: exit code {code}, see {log}{again}\n"


def main() -> int:
    top = Path("build/fuzz").absolute()
    seconds = int(os.environ.get("FUZZ_SECONDS", "40"))
    found = ""
    for name in sys.argv[1:] or [WHOLE, *MAKERS]:
        said = fuzz(name, top, seconds)
        print(said or f"{name}: nothing", flush=True)
        found += said
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
