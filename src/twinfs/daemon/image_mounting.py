"""Mount an image, in the foreground or as a daemon."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from twinfs.daemon import logfile, mounts, start
from twinfs.daemon.find import canonical
from twinfs.daemon.groups import first_cause
from twinfs.daemon.paths import Paths
from twinfs.errors import ImageError, MountError, TwinfsError, UsageError
from twinfs.images.running.address import PREFIX
from twinfs.images.running.using import opened
from twinfs.images.sources.nbd import Export
from twinfs.images.worker.origin import Origin

_log = logging.getLogger(__name__)

IMAGE_TYPE = "fuse.twinfs_image"


def mount_image(
    paths: Paths,
    image: str,
    mountpoint: str,
    *,
    map_path: str | None = None,
    passphrase: bytes | None = None,
    is_foreground: bool,
    on_ready: Callable[[str], None],
) -> None:
    """Mount; return when it answers, or at the unmount in the foreground. Raises ImageError, MountError."""
    place = canonical(mountpoint)
    mounts_there = mounts.at(place)
    if mounts_there is not None and mounts_there.filesystem_type == IMAGE_TYPE and mounts.is_dead(place):
        mounts.unmount(place, lazy=True)
    if not os.path.isdir(place):
        raise MountError(f"{place} is not a directory; make it: mkdir -p {place}")
    if image.startswith(PREFIX):
        if map_path is not None:
            raise UsageError("--map goes with the image of a disk that was partly read, not with a machine")
        origin = Origin(image)
    else:
        if not os.path.exists(image):
            raise ImageError(f"{image}: no such file")
        whole_map_path = os.path.abspath(map_path) if map_path is not None else None
        origin = Origin(os.path.abspath(image), whole_map_path)
    body = partial(_serve, paths, origin, passphrase, place, is_foreground)
    if is_foreground:
        body(lambda: on_ready(place))
    else:
        start.in_background(body, os.path.basename(image))
        on_ready(place)


def _serve(
    paths: Paths,
    origin: Origin,
    passphrase: bytes | None,
    place: str,
    is_foreground: bool,
    on_ready: Callable[[], None],
) -> None:
    import trio

    from twinfs.fuse.image_session import serve_image

    paths.state_dir.mkdir(parents=True, exist_ok=True)
    logfile.configure(paths.state_dir / "images.log", also_to_stderr=is_foreground)

    async def serve(export: Export | None) -> None:
        await serve_image(
            replace(origin, export=export),
            place,
            passphrase=passphrase,
            on_ready=on_ready,
            on_signal=partial(_take_down, place),
        )

    try:
        # In the process that serves it: a snapshot is held by who lives as long as the mount.
        with opened(origin.path, paths.run_dir) as export:
            trio.run(serve, export)
    except ExceptionGroup as group:
        raise first_cause(group) from None


def _take_down(place: str) -> None:
    """Asked to end: the kernel then lets go, and the session with it. Lazily, for somebody may look in."""
    present = mounts.at(place)
    if present is not None and present.filesystem_type == IMAGE_TYPE:
        try:
            mounts.unmount(place, lazy=True)
        except TwinfsError as error:
            _log.warning("%s: %s", place, error)
