"""Which format an image has, and when its own word for it is believed.

The guest of a raw image may write a qcow2 header to its first sector, with any file of the host for a backing
file. Whoever believed that header the next time would hand that file to the guest. So a format other than raw
is taken only where the name says the same, or where it is asked for. See "-drive ...format" in qemu(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from twinfs.errors import UsageError
from twinfs_qemu.errors import QemuError, RefusedError
from twinfs_qemu.programs import call

ENDINGS = {
    ".qcow2": "qcow2",
    ".qcow": "qcow",
    ".qed": "qed",
    ".vmdk": "vmdk",
    ".vdi": "vdi",
    ".vhd": "vpc",
    ".vpc": "vpc",
    ".vhdx": "vhdx",
}
RAW = "raw"


class _Info(msgspec.Struct, rename="kebab"):
    format: str
    virtual_size: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image, absolute: QEMU takes what is before a colon for a protocol."""

    path: Path
    format: str
    size_bytes: int | None = None
    """Of the disk; None where a running machine keeps it locked."""


def format_by_name(path: Path) -> str:
    return ENDINGS.get(path.suffix.lower(), RAW)


def open_image(path: Path, wanted: str | None) -> Image:
    """What is to be given to QEMU. Raises UsageError where it is not there or not what its name says."""
    if not path.exists():
        raise UsageError(f"{path} is not there\n  make it: twinfs-qemu create {path} 10G")
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name an image")
    absolute = path.absolute()
    if wanted is not None:
        return Image(absolute, wanted)
    info = _probe(absolute)
    expected = format_by_name(path)
    if info.format != expected and expected != RAW:
        raise RefusedError(
            f"{path} is no {expected}, although it is called so; it looks like {info.format}\n"
            f"  if that is what it is: --format {info.format}"
        )
    if info.format in ENDINGS.values() and expected == RAW:
        raise RefusedError(
            f"{path} begins like a {info.format} image, and its name does not say so."
            " A guest may have written that into a raw image, to be shown files of this machine\n"
            f"  if you know what it is: --format {info.format}, or --format raw"
        )
    return Image(absolute, expected, info.virtual_size)


def _probe(path: Path) -> _Info:
    done = call("qemu-img", "info", "--output=json", "--force-share", str(path))
    if done.returncode != 0:
        raise QemuError(f"{path}: {plain_words(done.stderr)}")
    return msgspec.json.decode(done.stdout, type=_Info)


def plain_words(text: str) -> str:
    """QEMU's own message, without its name, and with its word for a lock made plain."""
    message = text.strip()
    for prefix in ("qemu-img: ", "qemu-system-x86_64: "):
        message = message.replace(prefix, "")
    if is_lock_message(message):
        return f"in use by a running machine or another program\n  {message.replace(chr(10), ' ')}"
    return message or "it failed and said nothing"


def is_lock_message(text: str) -> bool:
    """ "Failed to get "write" lock", "Failed to get shared "write" lock", "Failed to lock byte 100"."""
    return ("Failed to get" in text and "lock" in text) or "Failed to lock byte" in text
