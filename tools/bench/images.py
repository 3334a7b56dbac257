"""Speeds of disk images: `python -m tools.bench.images [--files N] [--megabytes N] [--rounds N]`.

One ext4 image with a tree and a large file, read by twinfs, the kernel's loop mount, fuse2fs and 7z,
as far as they are here and allowed. Every round visits all of them, so that a slow moment slows all. Every
walk and read begins with a fresh mount, so the kernel knows no file of it; the image is in the page cache,
but for the walk that says it is not. The same disk as a
compressed qcow2 is read by twinfs and by `qemu-img dd`. --memory N: what twinfs holds once N files were seen.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.bench.image_memory import resident_bytes, squashfs_of

_READ_BYTES = 1 << 20
_SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
TWINFS = str(Path(sys.executable).with_name("twinfs"))


def _run(*command: str | Path) -> None:
    environment = {**os.environ, "PATH": _SEARCH}
    subprocess.run([str(word) for word in command], check=True, capture_output=True, env=environment)


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _make(directory: Path, files: int, megabytes: int) -> Path:
    tree = directory / "tree"
    for number in range(files):
        if number % 1000 == 0:
            (tree / f"{number // 1000:03}").mkdir(parents=True)
        (tree / f"{number // 1000:03}" / f"file {number:06}").write_bytes(b"%d" % number)
    with open(tree / "large", "wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1 << 19).hex().encode())  # compresses to about half
    image = directory / "disk.img"
    with image.open("wb") as made:
        made.truncate((megabytes * 5 // 4 + 64 << 20) + files * 8192)
    _run("mkfs.ext4", "-q", "-F", "-N", str(files * 2 + 1000), "-d", tree, image)
    shutil.rmtree(tree)
    _run("qemu-img", "convert", "-c", "-O", "qcow2", image, directory / "disk.qcow2")
    return image


def _walk(top: Path) -> int:
    found, left = 0, [str(top)]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                found += 1
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
    return found


def _read(path: Path) -> int:
    total = 0
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            total += len(piece)
    return total


def _forget(path: Path) -> None:
    """Takes it out of the page cache; what is not on the disk yet would stay."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def _mounted(command: list[str | Path], mountpoint: Path) -> Iterator[None]:
    mountpoint.mkdir(exist_ok=True)
    _run(*command)
    try:
        yield
    finally:
        _run("umount", mountpoint)


class Bench:
    def __init__(self, directory: Path, image: Path, megabytes: int) -> None:
        self._image = image
        self._mountpoint = directory / "mnt"
        self._megabytes = megabytes
        self.samples: dict[tuple[str, str], list[float]] = {}
        self.missing: dict[str, str] = {}

    def _note(self, what: str, system: str, value: float) -> None:
        self.samples.setdefault((what, system), []).append(value)

    def round(self) -> None:
        self._note("image info, s", "twinfs", _seconds(lambda: _run(TWINFS, "image", "info", self._image)))
        rate = self._megabytes * 1.048576
        total = self._image.stat().st_size / 1e6
        self._note("read large, MB/s", "dd of the image", total / _seconds(lambda: _read(self._image)))
        for system, command, root in self._mounts():
            try:
                self._mount(system, command, root, rate)
            except (OSError, subprocess.CalledProcessError) as error:
                self.missing[system] = str(getattr(error, "stderr", b"") or error)[:200]
        self._compressed(rate)
        if shutil.which("7z"):
            words = ("7z", "x", "-so", self._image, "large")
            self._note("read large, MB/s", "7z", rate / _seconds(lambda: _run(*words)))

    def _compressed(self, rate: float) -> None:
        """QEMU's gets the whole disk, as far as there is anything: the large file is most of that."""
        packed, out = self._image.with_name("disk.qcow2"), self._image.with_name("out")
        words = ("dd", "-f", "qcow2", "-O", "raw", "bs=1M", f"if={packed}", f"of={out}")
        what = "read compressed qcow2, MB/s"
        self._note(what, "qemu-img dd", rate / _seconds(lambda: _run("qemu-img", *words)))
        out.unlink()
        with _mounted([TWINFS, "image", "mount", packed, self._mountpoint], self._mountpoint):
            self._note(what, "twinfs", rate / _seconds(lambda: _read(self._mountpoint / "p0" / "large")))

    def _mounts(self) -> Iterator[tuple[str, list[str | Path], str]]:
        yield "twinfs", [TWINFS, "image", "mount", self._image, self._mountpoint], "p0"
        yield "kernel", ["mount", "-o", "loop,ro", self._image, self._mountpoint], ""
        yield "fuse2fs", ["fuse2fs", "-o", "ro", self._image, self._mountpoint], ""

    def _mount(self, system: str, command: list[str | Path], root: str, rate: float) -> None:
        started = time.perf_counter()
        with _mounted(command, self._mountpoint):
            top = self._mountpoint / root
            os.listdir(top)
            self._note("mount to first ls, s", system, time.perf_counter() - started)
            entries = 0

            def walk() -> None:
                nonlocal entries
                entries = _walk(top)

            for what in ("walk first, entries/s", "walk again, entries/s"):
                seconds = _seconds(walk)
                self._note(what, system, entries / seconds)
            self._note("read large, MB/s", system, rate / _seconds(lambda: _read(top / "large")))
        _forget(self._image)
        with _mounted(command, self._mountpoint):
            seconds = _seconds(lambda: _walk(self._mountpoint / root))
            self._note("walk first, image not in memory, entries/s", system, entries / seconds)
        _read(self._image)

    def table(self) -> list[str]:
        systems = sorted({system for _, system in self.samples}, key=lambda name: (name != "twinfs", name))
        lines = ["| | " + " | ".join(systems) + " |", "|---" * (len(systems) + 1) + "|"]
        for what in dict.fromkeys(what for what, _ in self.samples):
            cells = [self._cell(what, system) for system in systems]
            lines.append(f"| {what} | " + " | ".join(cells) + " |")
        return lines + [f"{system}: {why}" for system, why in self.missing.items()]

    def _cell(self, what: str, system: str) -> str:
        values = self.samples.get((what, system))
        if not values:
            return ""
        middle = statistics.median(values)
        return f"{middle:.2f}" if middle < 100 else f"{middle:.0f}"


def weighed(directory: Path, files: int) -> str:
    """What twinfs and its reader hold together after all of an image's files were looked at."""
    image, mountpoint = squashfs_of(directory / "many.sqfs", files), directory / "mnt"
    with _mounted([TWINFS, "image", "mount", image, mountpoint], mountpoint):
        entries = _walk(mountpoint / "p0")
        held = resident_bytes(image)
    return f"memory after {entries} files: {held / 1e6:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0, help="files of another image, seen and then weighed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="twinfs-images-") as name:
        image = _make(Path(name), chosen.files, chosen.megabytes)
        bench = Bench(Path(name), image, chosen.megabytes)
        for _ in range(chosen.rounds):
            bench.round()
        lines = bench.table()
        if chosen.memory:
            lines.append(weighed(Path(name), chosen.memory))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
