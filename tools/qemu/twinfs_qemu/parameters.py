"""Parameters that several commands share, described once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from twinfs.daemon.paths import resolve
from twinfs.errors import UsageError

Json: TypeAlias = Annotated[bool, Parameter(name="--json", help="Print JSON lines for scripts.", negative=())]
MachineName: TypeAlias = Annotated[str, Parameter(help="A machine that runs; `twinfs-qemu list` has them.")]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def run_directory() -> Path:
    """Where machines keep what is true until the next boot: beside the sockets of twinfs."""
    return resolve(None, None, os.environ, is_root=os.geteuid() == 0).run_dir / "qemu"


def network_directory() -> Path:
    """Where networks are written down: root's, whoever asks, for only root makes them."""
    return resolve(None, None, os.environ, is_root=True).run_dir / "qemu"


def check_name(name: str) -> str:
    """It becomes a directory's name. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name}: letters, digits, '.', '_' and '-' only, 64 at most")
    return name
