"""One mount: from fusermount3 to the kernel's last word. All of pyfuse3's session lives here."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Final

import pyfuse3
import trio

from twinfs.errors import MountError
from twinfs.fuse import handshake, waiting

_MAX_TASKS: Final = 1024
"""Requests at a time. Those that wait for a leg that hangs must not keep the others out."""


async def serve_operations(
    operations: pyfuse3.Operations,
    mountpoint: str,
    mount_options: Sequence[str],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Mount and serve until the kernel lets go. MountError when it cannot be mounted.

    `mount_options` are fusermount3's. `task_status` is told when the kernel has been answered: from then on
    the tree is usable.
    """
    device = await trio.to_thread.run_sync(handshake.mount, mountpoint, mount_options)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    session_fd = theirs.detach()
    waiting.install()
    try:
        pyfuse3.init(operations, f"/dev/fd/{session_fd}", options=set())
    except RuntimeError as error:
        os.close(device)
        raise MountError(str(error)) from error
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run, nursery)
            await _agree(ours, device, session_fd)
            task_status.started()
    finally:
        ours.close()
        pyfuse3.close(unmount=False)
        os.close(device)


async def _run(nursery: trio.Nursery) -> None:
    # The handshake ends the first loop, if it is waiting just then; after that it ends with the mount.
    await pyfuse3.main(max_tasks=_MAX_TASKS)
    await pyfuse3.main(max_tasks=_MAX_TASKS)
    nursery.cancel_scope.cancel()


async def _agree(ours: socket.socket, device: int, session_fd: int) -> None:
    """Pass FUSE_INIT through, amended, and put the kernel's descriptor where libfuse reads."""
    request = await trio.to_thread.run_sync(handshake.read_request, device)
    channel = trio.socket.from_stdlib_socket(ours)
    await channel.send(request)
    answer = await channel.recv(1 << 16)
    os.write(device, handshake.amended(request, answer))
    # No await between: whoever waits for the number must find the new descriptor behind it.
    trio.lowlevel.notify_closing(session_fd)
    os.dup2(device, session_fd, inheritable=False)


def escape(value: str) -> str:
    """A comma would end the option, see fusermount3(1)."""
    return value.replace("\\", "\\\\").replace(",", "\\,")
