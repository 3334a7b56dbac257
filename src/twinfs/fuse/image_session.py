"""One mounted image, from the mount to the kernel's last word."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import trio

from twinfs.errors import ImageError
from twinfs.fuse.image_operations import ImageOperations
from twinfs.fuse.session import escape, serve_operations

SUBTYPE = "twinfs_image"
"""Not that of volumes: umount(8) would call their helper."""


async def serve_image(
    path: str, mountpoint: str, *, on_ready: Callable[[], None], on_signal: Callable[[], None]
) -> None:
    """Serve until it is unmounted. Raises ImageError, MountError.

    As root every user may look, as the image's permissions allow; else the user who mounts it
    may read all of it, and nobody else.
    """
    options = ["ro", "nosuid", "nodev", f"fsname={escape(path)}", f"subtype={SUBTYPE}"]
    if os.geteuid() == 0:
        options += ["allow_other", "default_permissions"]
    try:
        image_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from None
    operations = ImageOperations(path, image_fd=image_fd)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(operations.reader.run)
            nursery.start_soon(_obey_signals, on_signal)

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                await serve_operations(operations, mountpoint, options, task_status=task_status)
                nursery.cancel_scope.cancel()

            await nursery.start(serve)
            on_ready()
    finally:
        os.close(image_fd)


async def _obey_signals(on_signal: Callable[[], None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            await trio.to_thread.run_sync(on_signal)
