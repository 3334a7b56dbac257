"""One mounted image, from the mount to the kernel's last word."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from twinfs.errors import ImageError
from twinfs.fuse.image.operations import ImageOperations
from twinfs.fuse.image.reader import ImageReader
from twinfs.fuse.session import escape, serve_operations
from twinfs.images.worker.origin import Origin

if TYPE_CHECKING:
    from twinfs.fuse.overlay.operations import OverlayOperations
    from twinfs.images.overlay import Store

_log: Final = logging.getLogger(__name__)
_READ_AHEAD_KIB: Final = 1024
SUBTYPE: Final = "twinfs_image"
"""Not that of volumes: umount(8) would call their helper."""


async def serve_image(
    origin: Origin,
    mountpoint: str,
    *,
    passphrase: bytes | None = None,
    overlay: Store | None = None,
    on_ready: Callable[[], None],
    on_signal: Callable[[], None],
) -> None:
    """Serve until it is unmounted. Raises ImageError, MountError.

    As root every user may look, as the image's permissions allow; else the user who mounts it
    may read all of it, and nobody else. With an overlay it can be written to, in the same way.
    """
    options = [
        *([] if overlay else ["ro"]),
        "nosuid",
        "nodev",
        f"fsname={escape(origin.path)}",
        f"subtype={SUBTYPE}",
    ]
    if os.geteuid() == 0:
        options += ["allow_other", "default_permissions"]
    image_fd = _opened(origin)
    operations: ImageOperations | OverlayOperations
    begin: Callable[[], Awaitable[None]] | None = None
    if overlay is None:
        operations = ImageOperations(origin, image_fd=image_fd, passphrase=passphrase)
    else:
        # Not above: without an overlay nothing of it is loaded, and a mount is there the sooner.
        from twinfs.fuse.overlay.operations import OverlayOperations

        assert image_fd is not None, "no snapshot has an overlay"
        operations = OverlayOperations(origin, overlay, image_fd=image_fd, passphrase=passphrase)
        begin = operations.begin
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(operations.reader.run)
            nursery.start_soon(_prepare, operations.reader)
            if begin is not None:
                await begin()
            nursery.start_soon(_obey_signals, on_signal)

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                await serve_operations(operations, mountpoint, options, task_status=task_status)
                nursery.cancel_scope.cancel()

            await nursery.start(serve)
            await trio.to_thread.run_sync(_read_ahead, mountpoint)
            on_ready()
        if overlay is not None:
            overlay.end_use()
    finally:
        if image_fd is not None:
            os.close(image_fd)


async def _prepare(reader: ImageReader) -> None:
    """While it is being mounted: what the first look at a file system would wait for."""
    try:
        await reader.call("prepare")
    except ImageError as error:
        _log.info("%s", error)


def _opened(origin: Origin) -> int | None:
    """The image file; what comes over a connection has none."""
    if origin.export is not None:
        return None
    try:
        return os.open(origin.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ImageError(f"{origin.path}: {error.strerror}") from None


def _read_ahead(mountpoint: str) -> None:
    """Let the kernel ask for 1 MiB at once, as root: large files are read twice as fast. See bdi in sysfs.

    Not on the thread that answers the kernel: looking at the mount asks it.
    """
    device = os.stat(mountpoint).st_dev
    try:
        with open(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", "w") as setting:
            setting.write(str(_READ_AHEAD_KIB))
    except OSError as error:
        _log.info("read-ahead stays as it is: %s", error)


async def _obey_signals(on_signal: Callable[[], None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            await trio.to_thread.run_sync(on_signal)
