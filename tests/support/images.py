"""Makes disk images with the real tools, and asks the real tools about them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from twinfs.images.sources import FileSource
from twinfs.images.volumes import Image

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
MIB = 1 << 20


def tool(*command: str | Path, stdin: str | bytes | None = None, **extra: str) -> str:
    """Run a program with C locale and UTC; its standard output. Fails with its words."""
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC", **extra}
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [str(word) for word in command], input=data, capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace")


def encrypt_with_qemu(*words: str | Path) -> None:
    """qemu-img, which measures how fast it derives keys; in so short a time the kernel may count none."""
    for _ in range(20):
        try:
            tool("qemu-img", *words)
            return
        except AssertionError as error:
            if "Unable to get accurate CPU usage" not in str(error):
                raise
    raise AssertionError("qemu-img never got to measure itself")


def blank(path: Path, size_bytes: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


def write_at(path: Path, offset_bytes: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset_bytes)
        file.write(data)


def sfdisk(path: Path, script: str, *options: str) -> None:
    tool("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", *options, path, stdin=script)


def sfdisk_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tool("sfdisk", "--json", path))["partitiontable"]
    return found


def blkid(path: Path, offset_bytes: int = 0) -> dict[str, str]:
    words = ("blkid", "--probe", "--output", "export", "--offset", str(offset_bytes), path)
    lines = tool(*words).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


class OpenImage:
    """An image that closes itself: `with OpenImage(path) as image`."""

    def __init__(self, path: Path) -> None:
        self._image = Image.open(str(path))

    def __enter__(self) -> Image:
        return self._image

    def __exit__(self, *_: object) -> None:
        self._image.close()


class OpenFile:
    def __init__(self, path: Path) -> None:
        self._file = FileSource(str(path))

    def __enter__(self) -> FileSource:
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()


def copy_in(source: Path, disk: Path, offset_bytes: int) -> None:
    """A file's bytes, to that place of a disk."""
    tool(
        "dd",
        f"if={source}",
        f"of={disk}",
        f"seek={offset_bytes}",
        "oflag=seek_bytes",
        "conv=notrunc,sparse",
        "bs=1M",
    )
