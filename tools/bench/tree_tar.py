"""The archive that the tree workload unpacks: real files of this machine, collected once a run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tools.bench.errors import BenchError

# In this order until there are enough: text first, as in most people's trees.
_SOURCES = ("/usr/share/doc", "/usr/share", "/usr/lib")
_LARGEST_FILE_BYTES = 1 << 20


def make_tree_tar(tar: Path, wanted_files: int) -> int:
    """Write the archive; how many files it has, which is fewer than wanted on a very small machine."""
    paths: dict[str, None] = {}
    for source in _SOURCES:
        for path in _files_below(source):
            if len(paths) >= wanted_files:
                break
            paths[path.removeprefix("/")] = None
    listing = b"".join(os.fsencode(path) + b"\0" for path in paths)
    done = subprocess.run(
        ["tar", "-c", "-f", tar, "-C", "/", "--no-recursion", "--null", "-T", "-"],
        input=listing,
        stderr=subprocess.PIPE,
    )
    if done.returncode != 0:
        raise BenchError(f"tar cannot make the tree: {done.stderr.decode(errors='replace')[-1000:]}")
    return len(paths)


def _files_below(source: str) -> Iterator[str]:
    """Regular files that we may read, the same ones in the same order each time."""
    for directory, subdirectories, names in os.walk(source):
        subdirectories.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            if os.path.islink(path) or not os.path.isfile(path) or not os.access(path, os.R_OK):
                continue
            if os.stat(path).st_size <= _LARGEST_FILE_BYTES:
                yield path
