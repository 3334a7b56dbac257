"""What the tests need of the machine, and processes run on it."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

IS_ROOT = os.geteuid() == 0

needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: changes owners, devices or mounts")

# One language, and nothing of what tests provoke in the machine's own log.
QUIET = {"LC_ALL": "C", "TWINFS_SYSLOG": ""}

# An owner that no file of the test's own has. Needs no entry in /etc/passwd.
OTHER_UID = 12345
OTHER_GID = 12346

# fusermount3 refuses a caller whose uid has no name; this one has a name on every Debian.
NOBODY_UID = 65534


def tool(name: str, package: str) -> str:
    """The path of a program. Its absence fails the test: a skipped test hides what it would have found."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{name} is missing here; apt-get install {package}")
    return found


def run(
    *command: str | os.PathLike[str],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 120,
    input: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end with captured output, which a failure shows."""
    done = subprocess.run(
        [os.fspath(word) for word in command],
        cwd=cwd,
        env={**os.environ, **QUIET, **(env or {})},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        input=input,
        stdin=None if input is not None else subprocess.DEVNULL,
    )
    if check and done.returncode != 0:
        raise AssertionError(describe(done))
    return done


def describe(done: subprocess.CompletedProcess[str]) -> str:
    words = " ".join(map(str, done.args))
    texts = f"stdout: {done.stdout[-4000:]}\nstderr: {done.stderr[-4000:]}"
    return f"{words}\nexited with {done.returncode}\n{texts}"


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[str, Any]:
    """("ok", what the call returned), or (the errno's name, None)."""
    try:
        return ("ok", call(*args, **kwargs))
    except OSError as error:
        return (errno.errorcode.get(error.errno or 0, str(error)), None)


def in_child(call: Callable[[], Any], *, uid: int | None = None, gid: int | None = None) -> Any:
    """What `call` returns in a forked process, optionally as another user. Exceptions travel back too."""
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of fork with threads; the only other thread is the watchdog, which holds no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _answer_and_exit(call, uid, gid, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    succeeded, value = pickle.loads(data)
    if not succeeded:
        raise value
    return value


def _answer_and_exit(call: Callable[[], Any], uid: int | None, gid: int | None, write_end: int) -> None:
    answer: tuple[bool, Any]
    try:
        if gid is not None:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
        if uid is not None:
            os.setresuid(uid, uid, uid)
        answer = (True, call())
    except BaseException as error:  # noqa: BLE001  the child must never run on into the parent's pytest
        answer = (False, error)
    with os.fdopen(write_end, "wb") as pipe:
        pickle.dump(answer, pipe)
    os._exit(0)


def as_other(call: Callable[[], Any]) -> Any:
    """What `call` returns when a user without any rights runs it."""
    return in_child(call, uid=OTHER_UID, gid=OTHER_GID)


def start_python(
    script: str, *args: str | os.PathLike[str], cwd: Path | None = None
) -> subprocess.Popen[str]:
    """Start `script` in a Python of its own; stdin and stdout are pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(os.fspath, args)],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 120) -> str:
    """Wait for a process to succeed; its stdout."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, f"exited with {process.returncode}\nstdout: {out}\nstderr: {err}"
    return out


def is_mounted(path: str | os.PathLike[str]) -> bool:
    return os.fsencode(path) in mountpoints()


def mountpoints() -> list[bytes]:
    """Every mountpoint of this mount namespace, in the order of mounting; stacked mounts appear twice."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return [line.split()[4].decode("unicode_escape").encode("latin-1") for line in lines]


def mounts_under(directory: Path) -> Sequence[bytes]:
    prefix = os.fsencode(directory) + b"/"
    return [point for point in mountpoints() if (point + b"/").startswith(prefix)]
