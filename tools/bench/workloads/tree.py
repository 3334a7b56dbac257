"""A real tree: unpacked by tar, made a git repository, searched."""

from __future__ import annotations

import os
import subprocess

from tools.bench.job import Job
from tools.bench.workloads.phase import Act, Phase, Workload

_NEEDLE = "no file of this tree has this line in it"
# The settings of whoever runs this are not part of the measurement.
_ENVIRONMENT = {**os.environ, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
_GIT = ("git", "-c", "gc.auto=0", "-c", "user.name=bench", "-c", "user.email=bench@example.org")


def _run(job: Job, *words: str, allowed: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(
        words,
        cwd=job.directory,
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    if done.returncode not in allowed:
        raise SystemExit(f"{words[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")


def _unpack(job: Job) -> Act:
    def act() -> int:
        _run(job, "tar", "-x", "-f", job.tree_tar)
        return job.tree_files

    return act


def _commit(job: Job) -> Act:
    def act() -> int:
        _run(job, *_GIT, "init", "--quiet")
        _run(job, *_GIT, "add", "--all", "--force")
        _run(job, *_GIT, "commit", "--quiet", "--message", "everything")
        return job.tree_files

    return act


def _status(job: Job) -> Act:
    def act() -> int:
        _run(job, *_GIT, "status", "--porcelain")
        return job.tree_files

    return act


def _search(job: Job) -> Act:
    def act() -> int:
        # 1: nothing found, as meant. -r follows no links: none leads out of the tree.
        _run(job, "grep", "-r", "-F", "--exclude-dir=.git", _NEEDLE, ".", allowed=(1,))
        return job.tree_files

    return act


WORKLOAD = Workload(
    "tree",
    (
        Phase("tar x", "files", _unpack, changes=True),
        Phase("git commit", "files", _commit, changes=True, is_hidden=True),
        Phase("git status, warm", "files", _status, is_warm=True),
        Phase("grep -r, warm", "files", _search, is_warm=True),
    ),
)
