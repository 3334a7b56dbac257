"""`twinfs-qemu convert`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.talk import result, say
from twinfs.errors import UsageError
from twinfs.report import human, json_lines
from twinfs_qemu.errors import QemuError, RefusedError
from twinfs_qemu.formats import Image, format_by_name, open_image, plain_words
from twinfs_qemu.parameters import Json
from twinfs_qemu.programs import program
from twinfs_qemu.stop_signals import signals_raise

_PERCENT = re.compile(rb"\(\s*([0-9.]+)/100%\)")
_LINE_SECONDS = 10.0


def convert(
    source: Annotated[Path, Parameter(help="An image.")],
    dest: Annotated[Path, Parameter(help="The image to write; its ending says its format, none: raw.")],
    /,
    *,
    image_format: Annotated[
        str | None, Parameter(name="--format", help="DEST's, any that qemu-img writes (by the name).")
    ] = None,
    source_format: Annotated[
        str | None, Parameter(name="--source-format", help="SOURCE's (by its name).")
    ] = None,
    compress: Annotated[
        bool, Parameter(help="Compress, where the format can (qcow2, vmdk).", negative=())
    ] = False,
    force: Annotated[bool, Parameter(help="Overwrite DEST.", negative=())] = False,
    json: Json = False,
) -> int:
    """Convert a disk image into another format, and compare both in the end.

    Zeros take no room in DEST. It is there under its name when it is whole, durable
    and found equal to SOURCE; before, and when it fails, there is none. The image
    of a running machine is refused.

    For example:

        twinfs-qemu convert disk.qcow2 disk.img
        twinfs-qemu convert usb_key.img usb_key.qcow2 --compress
    """
    image = open_image(source, source_format)
    target = image_format or format_by_name(dest)
    _check(source, dest, is_forced=force)
    started = time.monotonic()
    with signals_raise(), tempfile.TemporaryDirectory(prefix=f".{dest.name}.", dir=dest.parent) as beside:
        made = Image(Path(beside).absolute() / dest.name, target)
        extra = ["-c"] if compress else []
        _run("converting", "convert", "-p", *extra, "-f", image.format, "-O", target, image.path, made.path)
        _run("comparing", "compare", "-p", "-f", image.format, "-F", target, image.path, made.path)
        _put(made.path, dest)
    seconds, size_bytes = time.monotonic() - started, dest.stat().st_blocks * 512
    if json:
        fields: dict[str, json_lines.Json] = {"path": str(dest), "format": target, "is_equal": True}
        result(json_lines.line({"type": "image", **fields, "used_bytes": size_bytes, "seconds": seconds}))
    else:
        words = f"{human.size(size_bytes)} in {human.duration(seconds)}, equal to {source}"
        result(f"{dest}: {target}, {words}")
    return 0


def _check(source: Path, dest: Path, *, is_forced: bool) -> None:
    if not dest.absolute().parent.is_dir():
        raise UsageError(f"{dest}: there is no directory {dest.absolute().parent}")
    if dest.exists():
        if dest.samefile(source):
            raise RefusedError(f"{dest} is {source} itself; no option allows this")
        if not dest.is_file():
            raise RefusedError(f"{dest} is not a file")
        if not is_forced:
            raise RefusedError(f"{dest} exists already\n  overwrite it: --force; or name another DEST")


def _put(made: Path, dest: Path) -> None:
    """Durable before it has its name, and its name durable before it is called done."""
    others = [path.name for path in made.parent.iterdir() if path != made]
    if others:
        # A VMDK in several files names them in its descriptor; they cannot be renamed without it.
        raise UsageError(f"{dest} would be several files ({others[0]}...); choose a format of one file")
    _sync(made, os.O_RDONLY)
    os.rename(made, dest)
    _sync(dest.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _run(step: str, *words: str | Path) -> None:
    """qemu-img with its progress; it ends with us."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [program("qemu-img"), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            said = _follow(process, step)
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        errors.seek(0)
        message = errors.read().decode(errors="replace")
    if process.returncode == 0:
        return
    if words[0] == "compare" and process.returncode == 1:
        raise QemuError(f"what was written differs from what was read, and is thrown away: {said}")
    raise QemuError(f"{words[-2] if step == 'converting' else words[-1]}: {plain_words(message)}")


def _follow(process: subprocess.Popen[bytes], step: str) -> str:
    """Shows how far it is; returns what else it said."""
    assert process.stdout is not None
    is_terminal = sys.stderr.isatty()
    last, rest = time.monotonic(), b""
    while got := os.read(process.stdout.fileno(), 4096):
        rest = (rest + got)[-4096:]
        found = _PERCENT.findall(got)
        if not found:
            continue
        percent = float(found[-1])
        if is_terminal:
            print(f"\r{step}: {percent:3.0f} %", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            say(f"{step}: {percent:.0f} %")
    if is_terminal:
        print("\r" + " " * 30 + "\r", end="", file=sys.stderr, flush=True)
    return re.sub(rb"\s*\(\s*[0-9.]+/100%\)\s*", b" ", rest).decode(errors="replace").strip()
