"""Mount an image, in the foreground or as a daemon."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from twinfs.daemon import logfile, mounts, start
from twinfs.daemon.find import canonical
from twinfs.daemon.groups import first_cause
from twinfs.daemon.paths import Paths
from twinfs.errors import ImageError, MountError, TwinfsError, UsageError
from twinfs.images.running.address import PREFIX
from twinfs.images.running.using import opened, refuse_overlay
from twinfs.images.sources.nbd import Export
from twinfs.images.worker import process
from twinfs.images.worker.origin import Origin

if TYPE_CHECKING:
    from twinfs.images.overlay import Store

_log = logging.getLogger(__name__)

IMAGE_TYPE = "fuse.twinfs_image"


def mount_image(
    paths: Paths,
    image: str,
    mountpoint: str,
    *,
    map_path: str | None = None,
    passphrase: bytes | None = None,
    overlay: str | None = None,
    is_foreground: bool,
    on_ready: Callable[[str], None],
) -> None:
    """Mount; return when it answers, or at the unmount in the foreground. Raises ImageError, MountError.

    `overlay` is the directory that changes go to, made if it is not there; without one it is read-only.
    """
    place = canonical(mountpoint)
    mounts_there = mounts.at(place)
    if mounts_there is not None and mounts_there.filesystem_type == IMAGE_TYPE and mounts.is_dead(place):
        mounts.unmount(place, lazy=True)
    if not os.path.isdir(place):
        raise MountError(f"{place} is not a directory; make it: mkdir -p {place}")
    if overlay is not None:
        refuse_overlay(image)
        overlay = _outside(overlay, place)
    body = partial(_serve, paths, _origin_of(image, map_path), passphrase, overlay, place, is_foreground)
    if is_foreground:
        body(lambda: on_ready(place))
    else:
        start.in_background(body, os.path.basename(image))
        on_ready(place)


def _origin_of(image: str, map_path: str | None) -> Origin:
    """With whole paths: a daemon works elsewhere."""
    if image.startswith(PREFIX):
        if map_path is not None:
            raise UsageError("--map goes with the image of a disk that was partly read, not with a machine")
        return Origin(image)
    if not os.path.exists(image):
        raise ImageError(f"{image}: no such file")
    return Origin(os.path.abspath(image), None if map_path is None else os.path.abspath(map_path))


def _outside(overlay: str, place: str) -> str:
    whole = os.path.realpath(overlay)
    if os.path.commonpath([whole, place]) == place:
        raise MountError(f"{overlay} is beneath the mount point: choose a directory elsewhere")
    return whole


def _serve(
    paths: Paths,
    origin: Origin,
    passphrase: bytes | None,
    overlay: str | None,
    place: str,
    is_foreground: bool,
    on_ready: Callable[[], None],
) -> None:
    if not origin.path.startswith(PREFIX):
        process.start_ahead()
    import trio

    from twinfs.fuse.image.session import serve_image

    paths.state_dir.mkdir(parents=True, exist_ok=True)
    logfile.configure(paths.state_dir / "images.log", also_to_stderr=is_foreground)

    async def serve(export: Export | None, store: Store | None) -> None:
        await serve_image(
            replace(origin, export=export),
            place,
            passphrase=passphrase,
            overlay=store,
            on_ready=on_ready,
            on_signal=partial(_take_down, place),
        )

    try:
        # In the process that serves it: a snapshot is held by who lives as long as the mount.
        with opened(origin.path, paths.run_dir) as export:
            store = None if overlay is None else _store(overlay)
            try:
                trio.run(serve, export, store)
            finally:
                if store is not None:
                    store.close()
    except ExceptionGroup as group:
        raise first_cause(group) from None


def _store(overlay: str) -> Store:
    from twinfs.images.overlay import Store

    return Store(overlay, may_create=True)


def _take_down(place: str) -> None:
    """Asked to end: the kernel then lets go, and the session with it. Lazily, for somebody may look in."""
    present = mounts.at(place)
    if present is not None and present.filesystem_type == IMAGE_TYPE:
        try:
            mounts.unmount(place, lazy=True)
        except TwinfsError as error:
            _log.warning("%s: %s", place, error)
