"""`twinfs-qemu create`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.talk import result
from twinfs.errors import UsageError
from twinfs.report import json_lines
from twinfs_qemu.errors import QemuError, RefusedError
from twinfs_qemu.formats import format_by_name, open_image, plain_words
from twinfs_qemu.parameters import Json
from twinfs_qemu.programs import call


def create(
    disk: Annotated[Path, Parameter(help="The image to make; its ending says its format, none: raw.")],
    size: Annotated[
        str | None, Parameter(help="Such as 10G, 512M; with --backing its size, if not given.")
    ] = None,
    /,
    *,
    backing: Annotated[
        Path | None, Parameter(help="Only what differs from this image is kept in DISK.")
    ] = None,
    image_format: Annotated[
        str | None, Parameter(name="--format", help="Any format that qemu-img makes (by the name).")
    ] = None,
    backing_format: Annotated[
        str | None, Parameter(name="--backing-format", help="The format of --backing (by its name).")
    ] = None,
    json: Json = False,
) -> int:
    """Make an empty disk image; refuse to overwrite anything.

    It takes room only for what a guest writes.

    For example:

        twinfs-qemu create disk.qcow2 10G
        twinfs-qemu create try.qcow2 --backing disk.qcow2
    """
    if size is None and backing is None:
        raise UsageError("SIZE is missing, such as 10G")
    kind = image_format or format_by_name(disk)
    words: list[str] = ["create", "-q", "-f", kind]
    if backing is not None:
        base = open_image(backing, backing_format)
        words += ["-b", str(base.path), "-F", base.format]
    _claim(disk)
    try:
        done = call("qemu-img", *words, str(disk.absolute()), *([size] if size is not None else []))
        if done.returncode != 0:
            raise QemuError(f"{disk}: {plain_words(done.stderr)}")
    except BaseException:
        # Ours: it was not there before, and nothing of anybody's is in it.
        disk.unlink(missing_ok=True)
        raise
    if json:
        result(json_lines.line({"type": "image", "path": str(disk), "format": kind}))
    else:
        result(f"{disk}: {kind}, {size or f'as large as {backing}'}")
    return 0


def _claim(disk: Path) -> None:
    """qemu-img overwrites; only O_EXCL says in one step that nothing was there."""
    try:
        os.close(os.open(disk, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        raise RefusedError(f"{disk} exists already\n  name another file; nothing overwrites it") from None
    except OSError as error:
        raise UsageError(f"{disk}: {error.strerror}") from error
