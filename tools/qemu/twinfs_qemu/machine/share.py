"""`--share DIR`: by virtiofs where virtiofsd is installed and we may run it, else by 9p."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from twinfs_qemu.errors import QemuError
from twinfs_qemu.machine.state import Place
from twinfs_qemu.programs import program

_PLACES = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
_SECONDS = 20.0


@dataclass(slots=True)
class Share:
    kind: str
    """ "virtiofs" or "9p"."""
    process: subprocess.Popen[bytes] | None

    @classmethod
    def start(cls, directory: Path, place: Place, *, is_detached: bool) -> Share:
        """Serve the directory; virtiofsd ends by itself when QEMU closes its socket."""
        found = virtiofsd()
        # Debian 12's needs root for its sandbox; 9p is served by QEMU itself and needs nothing.
        if found is None or os.geteuid() != 0:
            return cls("9p", None)
        words = [found, f"--socket-path={place.share}", "-o", f"source={directory.absolute()}"]
        if not is_detached:
            words = [program("setpriv"), "--pdeathsig", "TERM", "--", *words]
        with (place.directory / "share.log").open("wb") as log:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        share = cls("virtiofs", process)
        deadline = time.monotonic() + _SECONDS
        while not place.share.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                share.stop()
                words_said = (place.directory / "share.log").read_text(errors="replace").strip()
                raise QemuError(f"--share: virtiofsd failed: {words_said[-1000:]}")
            time.sleep(0.02)
        return share

    def stop(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.terminate()
            self.process.wait()


def virtiofsd() -> str | None:
    return next((path for path in _PLACES if os.access(path, os.X_OK)), shutil.which("virtiofsd"))
