"""KVM where it really runs a guest fast, else TCG.

A /dev/kvm that opens can still be useless: a nested machine without vmx or svm emulates every instruction,
a thousand times slower than TCG, QEMU reports no error, and `-accel kvm -accel tcg` takes it all the same.
So a guest counts first.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass

_SECONDS = 0.9
# A processor takes half a nanosecond or so, TCG about one, emulation instruction by instruction 500 and more.
_FAST_NANOSECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Accelerator:
    name: str
    """ "kvm" or "tcg", as QEMU calls them."""
    reason: str


def choose(arch: str, device: str = "/dev/kvm") -> Accelerator:
    """Takes less than a second."""
    if arch != platform.machine() and not (arch == "i386" and platform.machine() == "x86_64"):
        return Accelerator("tcg", f"emulated: this machine is {platform.machine()}, not {arch}")
    if not os.path.exists(device):
        return Accelerator("tcg", f"emulated: there is no {device}")
    if not os.access(device, os.R_OK | os.W_OK):
        return Accelerator("tcg", f"emulated: you may not open {device}; the group kvm may")
    if platform.machine() != "x86_64":
        return Accelerator("kvm", "KVM, not measured on this processor")
    return _measured()


def _measured() -> Accelerator:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "twinfs_qemu.accel.probe"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Accelerator("tcg", f"emulated: KVM did not count to five million within {_SECONDS} s")
    return judge(done.returncode, done.stdout, done.stderr)


def judge(code: int, output: str, errors: str) -> Accelerator:
    """By what the probe said."""
    if code != 0:
        return Accelerator("tcg", f"emulated: KVM fails ({errors.strip().splitlines()[-1:]})")
    nanoseconds = float(output)
    if nanoseconds > _FAST_NANOSECONDS:
        return Accelerator("tcg", f"emulated: KVM takes {nanoseconds:.0f} ns an instruction here")
    return Accelerator("kvm", f"KVM, {nanoseconds:.1f} ns a step")
