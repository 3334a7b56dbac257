"""Unix sockets by paths of any length: the kernel takes 107 bytes, a run directory may be longer."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def connect(path: Path, timeout: float) -> socket.socket:
    """Raises OSError."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end.settimeout(timeout)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end.connect(f"/proc/self/fd/{directory}/{path.name}")
    except BaseException:
        end.close()
        raise
    finally:
        os.close(directory)
    return end
