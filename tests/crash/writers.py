"""Writer processes (crash/writer.py), started by tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def start_writer(
    directory: Path, log: Path, seed: str, module: str = "crash.writer"
) -> subprocess.Popen[str]:
    """Makes the directory, and writes there until it is ended or nobody answers."""
    directory.mkdir(parents=True)
    return subprocess.Popen(
        [sys.executable, "-m", module, directory, log, seed],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
