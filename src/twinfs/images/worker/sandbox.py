"""What a reader may not ask of the kernel: a filter of system calls, kept by all its threads.

A reader opens files to read them, and answers over a socket it was given. So: no network, no programs, no
other processes, and nothing that changes a file, a directory or a mount. What is refused answers EPERM.
Source: seccomp(2), and Documentation/userspace-api/seccomp_filter.rst of Linux; numbers of system calls as
in asm/unistd.h of each architecture.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import struct
from typing import Final

_log: Final = logging.getLogger(__name__)
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_ARGUMENTS_AT: Final = 16
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_X32_BIT: Final = 0x40000000

# How files are opened (call, argument with the flags), then what is refused: socket, connect, bind, fork,
# kill, tkill, tgkill, ptrace, process_vm_*, execve, execveat, mount, umount2, bpf, io_uring_setup, and
# all that makes, removes, renames or changes files. Not sendto: send(2) on the socket it has is that.
_ARCHITECTURES: Final = {
    "x86_64": (
        0xC000003E,
        {"openat": (257, 2), "open": (2, 1)},
        (
            *(41, 42, 49, 53, 57, 58, 59, 62, 76, 77, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 94, 101),
            *(132, 133, 165, 166, 188, 189, 190, 197, 198, 199, 200, 234, 235, 258, 259, 260, 261, 263),
            *(264, 265, 266, 268, 280, 285, 310, 311, 316, 321, 322, 425, 437, 452),
        ),
    ),
    "aarch64": (
        0xC00000B7,
        {"openat": (56, 2)},
        (
            *(5, 6, 7, 14, 15, 16, 33, 34, 35, 36, 37, 38, 39, 40, 45, 46, 47, 52, 53, 54, 55, 88, 117, 129),
            *(130, 131, 198, 199, 200, 203, 221, 270, 271, 276, 280, 281, 425, 437, 452),
        ),
    ),
}


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """struct sock_filter."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def filter_for(machine: str) -> bytes | None:
    """The program for an architecture as uname(2) names it; None where its numbers are not known."""
    if machine not in _ARCHITECTURES:
        return None
    architecture, opening, refused = _ARCHITECTURES[machine]
    steps = [
        _step(_LOAD, _ARCHITECTURE_AT),
        # Another architecture's numbers (32-bit programs) mean other calls.
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, _REFUSE),
        _step(_LOAD, _NUMBER_AT),
    ]
    if machine == "x86_64":
        steps += [_step(_AT_LEAST, _X32_BIT, 0, 1), _step(_RETURN, _REFUSE)]
    for number in sorted(refused):
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE)]
    for number, argument in opening.values():
        steps += [
            _step(_EQUAL, number, 0, 4),
            _step(_LOAD, _ARGUMENTS_AT + 8 * argument),
            _step(_ANY_BIT, _WRITING, 0, 1),
            _step(_RETURN, _REFUSE),
            _step(_RETURN, _ALLOW),
        ]
    steps.append(_step(_RETURN, _ALLOW))
    return b"".join(steps)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def apply() -> bool:
    """False where the kernel has no filters, or the architecture is not known here: then it goes on without.

    Needs no_new_privs. To be called before any thread is started.
    """
    steps = filter_for(os.uname().machine)
    if steps is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps) // 8, steps)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        _log.info("no filter of system calls: %s", os.strerror(ctypes.get_errno()))
        return False
    return True
