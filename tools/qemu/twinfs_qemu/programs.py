"""The programs that do the work, and the Debian packages that they come from."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from twinfs.errors import UsageError

PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-i386": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-ppc64": "qemu-system-ppc",
    "qemu-system-riscv64": "qemu-system-misc",
    "qemu-system-s390x": "qemu-system-misc",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
}


def program(name: str) -> str:
    """Its path, also where an ordinary user's PATH has no sbin. Raises UsageError with the package."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise UsageError(f"{name} is not installed: apt-get install {PACKAGES[name]}")
    return found


def call(
    name: str, *words: str | os.PathLike[str], stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; who calls looks at its exit code."""
    command: Sequence[str | os.PathLike[str]] = [program(name), *words]
    return subprocess.run(
        command,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        # Its words are looked at.
        env={**os.environ, "LC_ALL": "C"},
    )
