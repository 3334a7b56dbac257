"""What a network changes, written down before it is changed, so that `net down` can undo it after a crash."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from twinfs_qemu.errors import NetError


class Network(msgspec.Struct, frozen=True):
    """One tap device with its subnet."""

    name: str
    subnet: str
    uplink: str | None
    """The interface towards the others; None where there was no default route."""
    uplink_forwarding_before: bool
    """Whether the uplink let packets through before the first of our networks did."""
    boot_id: str


def boot_id() -> str:
    """Nothing of an earlier boot is there any more."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Records:
    """A file a network."""

    def __init__(self, run_directory: Path) -> None:
        self.directory = run_directory / "net"

    def path(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def leases(self, name: str) -> Path:
        return self.directory / f"{name}.leases"

    def pid_file(self, name: str) -> Path:
        return self.directory / f"{name}.pid"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One `net up` or `net down` at a time: they share the uplink."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def read(self, name: str) -> Network | None:
        try:
            found = msgspec.json.decode(self.path(name).read_bytes(), type=Network)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise NetError(f"{self.path(name)} cannot be read: {error}") from error
        return found if found.boot_id == boot_id() else None

    def all(self) -> list[Network]:
        names = sorted(path.stem for path in self.directory.glob("*.json"))
        return [found for name in names if (found := self.read(name)) is not None]

    def write(self, network: Network) -> None:
        """Durable before anything is changed: the file itself, and its name."""
        path = self.path(network.name)
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(network))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)

    def forget(self, name: str) -> None:
        for path in (self.leases(name), self.pid_file(name), self.path(name)):
            path.unlink(missing_ok=True)
