"""One mounted volume: what answers the kernel, and what is beside the mirrored tree."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from twinfs.fuse.operations import Operations
from twinfs.fuse.routing import Routing
from twinfs.fuse.session import escape, serve_operations
from twinfs.fuse.virtual.images import images_directory
from twinfs.fuse.virtual.images_open import OpenImages
from twinfs.fuse.virtual.objects import NamedDirectory, Snapshots, VirtualObject
from twinfs.fuse.virtual.operations import VirtualOperations
from twinfs.fuse.virtual.versions import Versions
from twinfs.mirror.volume import Volume
from twinfs.report import json_lines


async def serve(
    volume: Volume,
    mountpoint: str,
    *,
    fsname: str,
    allow_other: bool,
    options: Sequence[str] = (),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `serve_operations`."""
    mount_options = [f"fsname={escape(fsname)}", "subtype=twinfs", "default_permissions", *options]
    if allow_other:
        mount_options.append("allow_other")
    async with trio.open_nursery() as nursery:
        images = OpenImages(volume, nursery)
        nursery.start_soon(images.run)
        virtual = VirtualOperations(_own_directory(volume, images, mountpoint))
        operations = Routing(Operations(volume), virtual)
        await serve_operations(operations, mountpoint, mount_options, task_status=task_status)
        nursery.cancel_scope.cancel()


def _own_directory(volume: Volume, images: OpenImages, mountpoint: str) -> NamedDirectory:
    """The volume's `.twinfs/`, which has what each subtree's provider gives."""

    async def status() -> bytes:
        await volume.refresh()
        now = volume.status(pid=os.getpid(), mountpoint=mountpoint)
        return json_lines.line(json_lines.status_dict(now)).encode() + b"\n"

    children: dict[bytes, Callable[[], Awaitable[VirtualObject]]] = {
        b"images": partial(images_directory, images),
        b"status": Snapshots(status),
    }
    if volume.core.window is not None:
        children[b"versions"] = Versions(volume)
    return NamedDirectory(children)
