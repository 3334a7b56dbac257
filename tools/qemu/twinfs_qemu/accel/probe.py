"""Counts in a guest of its own, through the ioctls of /dev/kvm: `python -m twinfs_qemu.accel.probe`.

Prints nanoseconds a step. In a process of its own, because nothing else ends a guest that is emulated
instruction by instruction. Numbers: the kernel's Documentation/virt/kvm/api.rst and include/uapi/linux/kvm.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import sys
import time

_CREATE_VM = 0xAE01
_GET_VCPU_MMAP_SIZE = 0xAE04
_CREATE_VCPU = 0xAE41
_RUN = 0xAE80
_SET_USER_MEMORY_REGION = 0x4020AE46
_SET_REGS = 0x4090AE82
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84
_EXIT_HLT = 5

STEPS = 5_000_000
# Real mode: dec ecx; jnz -4; hlt.
_CODE = bytes.fromhex("6649 75fc f4")
_GUEST_BYTES = 4096


def count() -> float:
    """Nanoseconds a step. Raises OSError where KVM is not to be had."""
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    machine = fcntl.ioctl(kvm, _CREATE_VM, 0)
    memory = mmap.mmap(-1, _GUEST_BYTES)
    memory[: len(_CODE)] = _CODE
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(machine, _SET_USER_MEMORY_REGION, struct.pack("=IIQQQ", 0, 0, 0, _GUEST_BYTES, address))
    processor = fcntl.ioctl(machine, _CREATE_VCPU, 0)
    run = mmap.mmap(processor, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0))

    special = bytearray(0x138)
    fcntl.ioctl(processor, _GET_SREGS, special)
    # The code segment comes first: base (8 bytes), limit (4), selector (2).
    struct.pack_into("=Q", special, 0, 0)
    struct.pack_into("=H", special, 12, 0)
    fcntl.ioctl(processor, _SET_SREGS, bytes(special))
    # rax rbx rcx rdx rsi rdi rsp rbp r8-r15 rip rflags
    registers = [0] * 18
    registers[2], registers[17] = STEPS, 2
    fcntl.ioctl(processor, _SET_REGS, struct.pack("=18Q", *registers))

    started = time.monotonic()
    fcntl.ioctl(processor, _RUN, 0)
    seconds = time.monotonic() - started
    (reason,) = struct.unpack_from("=I", run, 8)
    if reason != _EXIT_HLT:
        raise OSError(f"the guest ended with exit reason {reason}")
    return seconds / STEPS * 1e9


if __name__ == "__main__":
    try:
        print(count())
    except OSError as error:
        sys.exit(f"{error.strerror or error}")
