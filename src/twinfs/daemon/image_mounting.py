"""Mount an image, in the foreground or as a daemon."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial

from twinfs.daemon import logfile, mounts, start
from twinfs.daemon.find import canonical
from twinfs.daemon.groups import first_cause
from twinfs.daemon.paths import Paths
from twinfs.errors import ImageError, MountError, TwinfsError
from twinfs.fsio.qemu_lock import is_written_by_qemu

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
    if not os.path.exists(image):
        raise ImageError(f"{image}: no such file")
    if is_written_by_qemu(image):
        raise ImageError(
            f"{image} is the disk of a running machine: it would be read while it changes\n"
            "  shut the machine down first, as with twinfs-qemu stop"
        )
    whole_map_path = os.path.abspath(map_path) if map_path is not None else None
    if overlay is not None:
        overlay = _outside(overlay, place)
    body = partial(
        _serve, paths, os.path.abspath(image), whole_map_path, passphrase, overlay, place, is_foreground
    )
    if is_foreground:
        body(lambda: on_ready(place))
    else:
        start.in_background(body, os.path.basename(image))
        on_ready(place)


def _outside(overlay: str, place: str) -> str:
    whole = os.path.realpath(overlay)
    if os.path.commonpath([whole, place]) == place:
        raise MountError(f"{overlay} is beneath the mount point: choose a directory elsewhere")
    return whole


def _serve(
    paths: Paths,
    image: str,
    map_path: str | None,
    passphrase: bytes | None,
    overlay: str | None,
    place: str,
    is_foreground: bool,
    on_ready: Callable[[], None],
) -> None:
    import trio

    from twinfs.fuse.image_session import serve_image
    from twinfs.images.overlay import Store

    paths.state_dir.mkdir(parents=True, exist_ok=True)
    logfile.configure(paths.state_dir / "images.log", also_to_stderr=is_foreground)

    store = None if overlay is None else Store(overlay, may_create=True)

    async def serve() -> None:
        await serve_image(
            image,
            place,
            map_path=map_path,
            passphrase=passphrase,
            overlay=store,
            on_ready=on_ready,
            on_signal=partial(_take_down, place),
        )

    try:
        trio.run(serve)
    except ExceptionGroup as group:
        raise first_cause(group) from None
    finally:
        if store is not None:
            store.close()


def _take_down(place: str) -> None:
    """Asked to end: the kernel then lets go, and the session with it. Lazily, for somebody may look in."""
    present = mounts.at(place)
    if present is not None and present.filesystem_type == IMAGE_TYPE:
        try:
            mounts.unmount(place, lazy=True)
        except TwinfsError as error:
            _log.warning("%s: %s", place, error)
