"""Speeds of a guest's disk whose image lies in a volume: `python -m tools.bench.guest [--rounds N]`.

The same guest and the same image, in a plain directory and in a mirrored volume of each mode. fio runs
inside, on the raw disk past the guest's page cache, so that every request reaches QEMU and from there the
directory. Every round visits all of them, so that a slow moment slows all. Runs from a checkout that is
set up for the tests, whose guest it boots, with the machine's own fio on a second disk.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tools.bench.errors import BenchError
from tools.bench.mounts import run
from tools.bench.space import fresh_place, scratch_space
from tools.bench.systems.base import System
from tools.bench.systems.plain import Plain
from tools.bench.systems.twinfs import TwinfsBatched, TwinfsSync

_SYSTEMS: Final = (Plain, TwinfsSync, TwinfsBatched)
_QEMU: Final = Path(sys.executable).with_name("twinfs-qemu")
_NAME: Final = "bench"
_READ_FIELD: Final = 6
_WRITE_FIELD: Final = 47
"""KiB a second in fio's terse output, version 3; see "TERSE OUTPUT" in fio(1)."""
_JOBS: Final = {
    "write, 1 MiB": ("write", "1M", "--end_fsync=1"),
    "write at random places, 4 KiB": ("randwrite", "4k", "--io_size={small}M", "--end_fsync=1"),
    "the same, an fsync after each": ("randwrite", "4k", "--io_size={tiny}k", "--fsync=1"),
    "read, 1 MiB": ("read", "1M"),
    "read at random places, 4 KiB": ("randread", "4k", "--io_size={small}M"),
}


def _tests_guest() -> Any:  # noqa: ANN401  the tests are not typed
    """How the tests boot a Linux within seconds."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
    return importlib.import_module("support.guest")


def _make_fio_disk(scratch: Path) -> Path:
    """fio with all its libraries, as a file system."""
    fio = shutil.which("fio")
    if fio is None:
        raise BenchError("fio is not installed: apt-get install fio")
    tree = scratch / "fio"
    tree.mkdir()
    libraries = re.findall(r"(/\S+) \(0x", run("ldd", fio))
    for path in (fio, *libraries):
        shutil.copy(path, tree)
    disk = scratch / "fio.img"
    with disk.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.ext4", "-q", "-F", "-d", tree, disk)
    shutil.rmtree(tree)
    return disk


@contextmanager
def _booted(scratch: Path, image: Path, fio_disk: Path) -> Iterator[Any]:
    """The guest's console."""
    guest = _tests_guest()
    initramfs = scratch / "initramfs"
    if not initramfs.exists():
        guest.make_initramfs(initramfs)
    env = {"TWINFS_RUN_DIR": str(scratch / "run")}
    drive = ("-drive", f"if=none,id=fio,format=raw,readonly=on,file={fio_disk}")
    kernel = ("-kernel", guest.kernel(), "-initrd", initramfs, "-append", "console=ttyS0 quiet")
    options = ("--name", _NAME, "--detach", "--memory", "512M", "--cpus", "1", "--net", "none")
    run(
        *(_QEMU, "run", image, *options, "--", *kernel, "-cpu", "qemu64"),
        *(*drive, "-device", "virtio-blk,drive=fio"),
        env=env,
    )
    try:
        console = guest.Console(scratch / "run" / "qemu" / "machines" / _NAME / "console.sock", 120)
        try:
            console.run("mount -t ext4 -o ro /dev/vdb /mnt")
            yield console
        finally:
            console.close()
    finally:
        run(_QEMU, "stop", _NAME, "--timeout", "20", env=env)


def _rate(console: Any, job: str, megabytes: int) -> float:  # noqa: ANN401  see above
    """MiB a second."""
    kind, block, *more = _JOBS[job]
    options = [word.format(small=megabytes // 8, tiny=megabytes * 4) for word in more]
    words = f"--name=it --thread --filename=/dev/vda --ioengine=psync --direct=1 --size={megabytes}M"
    words += f" --rw={kind} --bs={block} --output-format=terse --terse-version=3 {' '.join(options)}"
    said = console.run(f"/mnt/ld-linux-x86-64.so.2 --library-path /mnt /mnt/fio {words}", timeout=1200)
    lines = [line for line in said.splitlines() if line.startswith("3;fio")]
    if len(lines) != 1:
        raise BenchError(f"fio in the guest said: {said[-500:]}")
    return float(lines[0].split(";")[_READ_FIELD if "read" in kind else _WRITE_FIELD]) / 1024


def _measure(system: System, scratch: Path, fio_disk: Path, megabytes: int) -> dict[str, float]:
    system.start()
    image = system.root / "disk.img"
    # Written once: it is not allocation that is measured.
    with image.open("wb") as file:
        for _ in range(megabytes):
            file.write(bytes(1 << 20))
        os.fsync(file.fileno())
    system.settle()
    with _booted(scratch, image, fio_disk) as console:
        rates = {job: _rate(console, job, megabytes) for job in _JOBS}
    system.settle()
    system.stop()
    return rates


def _table(samples: dict[str, list[dict[str, float]]]) -> str:
    names = list(samples)
    lines = [
        f"| in the guest | {names[0]}, MiB/s | {' | '.join(names[1:])} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for job in _JOBS:
        rates = {name: [sample[job] for sample in samples[name]] for name in names}
        plain = statistics.median(rates[names[0]])
        parts = [
            f"{statistics.median(rates[name]) / plain:.2f}"
            f" ({min(rates[name]) / plain:.2f}-{max(rates[name]) / plain:.2f})"
            for name in names[1:]
        ]
        lines.append(f"| {job} | {plain:.1f} | {' | '.join(parts)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.guest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=128, help="of the image (128)")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()), help="for scratch files")
    arguments = parser.parse_args()
    # Asked to end, it takes down its guest and its volume first, as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    samples: dict[str, list[dict[str, float]]] = {system.name: [] for system in _SYSTEMS}
    try:
        with scratch_space(arguments.dir) as scratch:
            fio_disk = _make_fio_disk(scratch)
            for _ in range(arguments.rounds):
                for kind in _SYSTEMS:
                    with fresh_place(scratch, on_loops=False, keep_files=False) as place:
                        system = kind(place)
                        try:
                            samples[kind.name].append(
                                _measure(system, scratch, fio_disk, arguments.megabytes)
                            )
                        finally:
                            system.abandon()
                    print(json.dumps({kind.name: samples[kind.name][-1]}), file=sys.stderr)
    except (BenchError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(_table(samples))
    return 0


if __name__ == "__main__":
    sys.exit(main())
