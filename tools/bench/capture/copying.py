"""A whole source, copied: from memory to memory, and from a disk of 500 MB/s."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.bench.capture.measure import CAPTURE, cost_of
from tools.bench.capture.results import Sample
from tools.bench.errors import BenchError
from tools.bench.mounts import IS_ROOT, run

_MEMORY = Path("/dev/shm")
_BLKIO = Path("/sys/fs/cgroup/blkio")
_RATE_BYTES = 500_000_000
_PIECE_BYTES = 16 << 20


def make_source(path: Path, size_bytes: int) -> None:
    """Not zeros: those would be holes."""
    with path.open("wb") as file:
        for _ in range(0, size_bytes, _PIECE_BYTES):
            file.write(os.urandom(min(_PIECE_BYTES, size_bytes)))


def in_memory(size_bytes: int, say: Callable[[str], None]) -> Iterator[Sample]:
    """Source and image in tmpfs: what the program itself costs."""
    with _scratch(_MEMORY) as base:
        source = base / "source"
        make_source(source, size_bytes)
        yield from _programs(
            f"memory, {size_bytes >> 20} MiB", source, base, direct=False, holds=(1.5, 2.0), say=say
        )


def from_slow_disk(size_bytes: int, say: Callable[[str], None]) -> Iterator[Sample]:
    """A loop device whose reads are throttled. Raises BenchError where this machine cannot do that."""
    if not IS_ROOT or not (_BLKIO / "blkio.throttle.read_bps_device").exists():
        raise BenchError("a throttled disk takes root and the blkio controller of cgroup v1")
    with _scratch(_MEMORY) as base:
        source = base / "source"
        make_source(source, size_bytes)
        device = Path(run("losetup", "--find", "--show", source).strip())
        try:
            with _throttled(device) as join:
                yield from _programs(
                    f"500 MB/s, {size_bytes >> 20} MiB",
                    device,
                    base,
                    direct=True,
                    holds=(1.05, 1.05),
                    say=say,
                    within=join,
                )
        finally:
            run("losetup", "--detach", device)


def _programs(
    case: str,
    source: Path,
    base: Path,
    *,
    direct: bool,
    holds: tuple[float, float],
    say: Callable[[str], None],
    within: Callable[[], None] | None = None,
) -> Iterator[Sample]:
    image = base / "image"
    capture = (CAPTURE, "disk", source, image)
    programs: dict[str, tuple[tuple[str | Path, ...], float | None]] = {
        "dd bs=1M": (("dd", f"if={source}", f"of={image}", "bs=1M"), None),
    }
    if direct:
        programs["dd bs=1M iflag=direct"] = ((*programs["dd bs=1M"][0], "iflag=direct"), None)
    if shutil.which("ddrescue"):
        options = ("--idirect",) if direct else ()
        programs["ddrescue"] = (("ddrescue", *options, source, image, base / "image.map"), None)
    programs["twinfs-capture"] = (capture, holds[0])
    programs["twinfs-capture, blake3"] = ((*capture, "--hash", "blake3"), holds[1])
    programs["twinfs-capture, sha256"] = ((*capture, "--hash", "sha256"), None)
    for name, (words, hold) in programs.items():
        say(f"{case}: {name}")
        for left in base.glob("image*"):
            left.unlink()
        cost = cost_of(words, within=within)
        yield Sample(case, name, cost.seconds, cost.cpu_seconds, cost.peak_bytes, "dd bs=1M", hold)


@contextlib.contextmanager
def _throttled(device: Path) -> Iterator[Callable[[], None]]:
    """What a process calls to be throttled on reading the device. Kernel: blk-throttle, cgroup v1."""
    group = _BLKIO / f"twinfs-bench-{os.getpid()}"
    group.mkdir()
    number = os.stat(device).st_rdev
    (group / "blkio.throttle.read_bps_device").write_text(
        f"{os.major(number)}:{os.minor(number)} {_RATE_BYTES}"
    )
    try:
        yield lambda: _join(group)
    finally:
        group.rmdir()


def _join(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    base = parent / f"twinfs-bench-{os.getpid()}"
    base.mkdir()
    try:
        yield base
    finally:
        shutil.rmtree(base)
