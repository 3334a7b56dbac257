"""What the kernel and libfuse agree on at the start, with the few things libfuse 3.14 cannot say.

The mount's descriptor comes from fusermount3, the first message is passed to libfuse through a socket
pair, and its answer is amended on the way back; then the descriptor takes the socket's number. libfuse
and pyfuse3 notice nothing. Source: struct fuse_init_in and fuse_init_out of linux/fuse.h.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import subprocess
from collections.abc import Sequence
from typing import Final

from twinfs.errors import MountError

_DONT_MASK: Final = 1 << 6
"""The kernel leaves the umask to us: it does not apply where a directory has a default ACL."""
_CACHE_SYMLINKS: Final = 1 << 23
_HANDLE_KILLPRIV_V2: Final = 1 << 28
"""We take set-id bits away when a file is written. Without it the kernel asks for security.capability
before every write(2): 4 KiB writes were ten times slower."""
_AMENDED: Final = _DONT_MASK | _CACHE_SYMLINKS | _HANDLE_KILLPRIV_V2

_IN_FLAGS_AT: Final = 40 + 12
_OUT_FLAGS_AT: Final = 16 + 12
_MAX_MESSAGE_BYTES: Final = 1 << 20

FUSERMOUNT: Final = "fusermount3"


def mount(mountpoint: str, options: Sequence[str]) -> int:
    """Mount, as root or as an ordinary user; returns the descriptor of /dev/fuse.

    MountError with fusermount3's own words.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        command = [FUSERMOUNT, "-o", ",".join(options), "--", mountpoint]
        environment = dict(os.environ, _FUSE_COMMFD=str(theirs.fileno()))
        try:
            done = subprocess.run(
                command, env=environment, pass_fds=[theirs.fileno()], capture_output=True, check=False
            )
        except FileNotFoundError:
            raise MountError(f"{FUSERMOUNT} is missing; install the package fuse3") from None
        if done.returncode:
            raise MountError(done.stderr.decode(errors="replace").strip() or f"{FUSERMOUNT} failed")
        theirs.close()
        return _receive_descriptor(ours)


def _receive_descriptor(channel: socket.socket) -> int:
    _, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(array.array("i").itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            (fd,) = struct.unpack("i", data[:4])
            os.set_inheritable(fd, False)
            return int(fd)
    raise MountError(f"{FUSERMOUNT} handed over no descriptor")


def amended(request: bytes, answer: bytes) -> bytes:
    """libfuse's answer to FUSE_INIT, with what the kernel offers of `_AMENDED` accepted."""
    if len(answer) < _OUT_FLAGS_AT + 4 or len(request) < _IN_FLAGS_AT + 4:
        return answer
    (offered,) = struct.unpack_from("=I", request, _IN_FLAGS_AT)
    (accepted,) = struct.unpack_from("=I", answer, _OUT_FLAGS_AT)
    changed = bytearray(answer)
    struct.pack_into("=I", changed, _OUT_FLAGS_AT, accepted | offered & _AMENDED)
    return bytes(changed)


def read_request(fd: int) -> bytes:
    return os.read(fd, _MAX_MESSAGE_BYTES)
