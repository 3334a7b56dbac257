"""What a reader cannot do, tried in a process under the same limits."""

from __future__ import annotations

import subprocess
import sys

import pytest

_UNDER_LIMITS = """
import os, socket, sys
from twinfs.images.worker import sandbox
from twinfs.images.worker.limits import apply_limits
ours, theirs = socket.socketpair()
apply_limits()
assert sandbox.apply(), "no filter"
try:
    {attempt}
except PermissionError:
    sys.exit(7)
except MemoryError:
    sys.exit(8)
"""


def outcome(attempt: str) -> int:
    words = [sys.executable, "-c", _UNDER_LIMITS.format(attempt=attempt)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 7, 8), done.stderr
    return done.returncode


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket()",
        "open('/tmp/twinfs-never-made', 'w')",
        "os.open('/dev/null', os.O_RDWR)",
        "os.unlink('/nowhere')",
        "os.rename('/nowhere', '/elsewhere')",
        "os.mkdir('/tmp/twinfs-never-made')",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "os.chmod('/dev/null', 0o666)",
        "os.symlink('a', '/tmp/twinfs-never-made')",
        "os.truncate('/nowhere', 0)",
    ],
)
def test_it_is_refused(attempt):
    assert outcome(attempt) == 7


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/proc/self/status').read()",
        "ours.sendall(b'answer'); assert theirs.recv(10) == b'answer'",
        "import threading; t = threading.Thread(target=os.getpid); t.start(); t.join()",
        "from fs_explorer import native; native.info()",
    ],
)
def test_it_works(attempt):
    assert outcome(attempt) == 0


def test_memory_beyond_the_limit_is_an_error():
    assert outcome("bytes(500 << 20)") == 8
