"""What a machine needs for twinfs, one function a question; doctor prints the answers."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from twinfs.daemon.paths import Paths

_MIN_PYTHON = (3, 11)
_MIN_KERNEL = (5, 15)
_HELPERS = ("mount.fuse.twinfs", "umount.fuse.twinfs")
# What twinfs-qemu runs, and the Debian packages that they come from.
_QEMU_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "dnsmasq": "dnsmasq-base",
    "nft": "nftables",
}


class Verdict(StrEnum):
    """missing: twinfs does not work without it. advice: something is less than it could be."""

    OK = "ok"
    ADVICE = "advice"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One answer. `fix` is a command or an edit, or None when there is nothing to mend."""

    name: str
    verdict: Verdict
    message: str
    fix: str | None = None


def machine(paths: Paths) -> Iterator[Check]:
    """Everything that does not depend on a volume."""
    yield python()
    yield kernel(os.uname().release)
    yield fuse_device(Path("/dev/fuse"))
    yield fusermount()
    if os.geteuid() != 0:
        yield user_allow_other(Path("/etc/fuse.conf"))
    yield from _importable()
    yield from (mount_helper(name, Path("/sbin")) for name in _HELPERS)
    yield from (helper_program(name, package) for name, package in _QEMU_PROGRAMS.items())
    yield from (writable(directory) for directory in (paths.state_dir, paths.config_dir, paths.run_dir))


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    text = ".".join(map(str, version))
    if version >= _MIN_PYTHON:
        return Check("python", Verdict.OK, f"Python {text}")
    return Check("python", Verdict.MISSING, f"Python {text} is too old", "install Python 3.11 or later")


def kernel(release: str) -> Check:
    """`release` as uname -r says it, such as 6.1.0-18-amd64."""
    numbers = [int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit()]
    if tuple(numbers) >= _MIN_KERNEL:
        return Check("kernel", Verdict.OK, f"Linux {release}")
    return Check("kernel", Verdict.MISSING, f"Linux {release} is older than 5.15", "boot a newer kernel")


def fuse_device(device: Path) -> Check:
    if not device.exists():
        return Check("fuse", Verdict.MISSING, f"{device} is not there", "modprobe fuse")
    if os.access(device, os.R_OK | os.W_OK):
        return Check("fuse", Verdict.OK, f"{device} can be opened")
    return Check("fuse", Verdict.MISSING, f"{device} cannot be opened by you", f"sudo chmod 666 {device}")


def fusermount() -> Check:
    """Root mounts without it; everybody else, and libfuse in doubt, needs it setuid root."""
    program = shutil.which("fusermount3")
    needed = Verdict.ADVICE if os.geteuid() == 0 else Verdict.MISSING
    if program is None:
        return Check("fusermount3", needed, "fusermount3 is not installed", "apt install fuse3")
    if os.geteuid() != 0 and not os.stat(program).st_mode & 0o4000:
        return Check("fusermount3", needed, f"{program} is not setuid root", f"sudo chmod u+s {program}")
    return Check("fusermount3", Verdict.OK, program)


def user_allow_other(conf: Path) -> Check:
    try:
        lines = conf.read_text().splitlines()
    except OSError:
        lines = []
    if any(line.strip() == "user_allow_other" for line in lines):
        return Check("allow_other", Verdict.OK, "other users may be let into your volumes (-o allow_other)")
    fix = f"echo user_allow_other | sudo tee -a {conf}"
    return Check("allow_other", Verdict.ADVICE, "-o allow_other is for root only here", fix)


def mount_helper(name: str, directory: Path) -> Check:
    """mount(8) looks in /sbin alone; twinfs is its own helper when called by that name."""
    if os.access(directory / name, os.X_OK):
        return Check(name, Verdict.OK, f"{directory / name} is there")
    # Beside the interpreter is where pip puts it, whatever PATH says.
    beside = Path(sys.executable).with_name("twinfs")
    program = beside if beside.exists() else shutil.which("twinfs") or "/path/to/twinfs"
    consequence = "fstab lines cannot be mounted" if name.startswith("mount") else "umount(8) does not wait"
    message = f"{directory / name} is missing: {consequence}"
    return Check(name, Verdict.ADVICE, message, f"sudo ln -s {program} {directory / name}")


def helper_program(name: str, package: str) -> Check:
    """A program that twinfs itself does without; twinfs-qemu needs it. Users have no sbin in their PATH."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is not None:
        return Check(name, Verdict.OK, found)
    message = f"{name} is not installed; twinfs-qemu needs it"
    return Check(name, Verdict.ADVICE, message, f"apt install {package}")


def writable(directory: Path) -> Check:
    """Exists and can be written, or could be made."""
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return Check(str(directory), Verdict.OK, "can be written" if nearest == directory else "can be made")
    fix = f"sudo install -d -o {os.geteuid()} {directory}"
    return Check(str(directory), Verdict.MISSING, f"{nearest} cannot be written by you", fix)


def attempt(name: str, action: Callable[[], str], fix: str) -> Check:
    """Whether something works, found out by doing it; `action` returns what to say then."""
    try:
        return Check(name, Verdict.OK, action())
    except (ImportError, OSError) as error:
        return Check(name, Verdict.MISSING, str(error), fix)


def _importable() -> Iterator[Check]:
    def load(module: str) -> str:
        return f"version {getattr(importlib.import_module(module), '__version__', 'unknown')}"

    libraries = "apt install libfuse3-3 && pip install --force-reinstall twinfs"
    yield attempt("pyfuse3", lambda: load("pyfuse3"), libraries)
