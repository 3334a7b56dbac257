"""A twinfs volume, driven through the command line as a user would."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import tree
from support.machine import IS_ROOT, QUIET, describe, is_mounted, run, tool

# Volumes that may be mounted now; the watchdog ends what hangs in them.
LIVE: list[Volume] = []

_TROUBLE = re.compile(r"Traceback \(most recent call last\)|\bERROR\b|\bCRITICAL\b")


def twinfs_command() -> list[str]:
    """The installed console script beside this Python, or the module where there is none."""
    script = Path(sys.executable).parent / "twinfs"
    return [str(script)] if script.exists() else [sys.executable, "-m", "twinfs.cli.main"]


class Volume:
    """One volume in a scratch directory of its own: legs, mountpoint, configuration, state.

    `tolerated` are regular expressions of log lines that a test provokes on purpose.
    """

    def __init__(
        self,
        base: Path,
        mode: str,
        legs: tuple[Path, Path] | None = None,
        *,
        interval: str = "1s",
        name: str = "pair",
        mount: Path | None = None,
        command_prefix: tuple[str, ...] = (),
    ) -> None:
        self.base, self.mode, self.name, self.interval = base, mode, name, interval
        self.primary, self.secondary = legs or (base / "primary", base / "secondary")
        self.mount = mount or base / "mnt"
        self.command_prefix = command_prefix
        self.run_dir = base / "run"
        self.tolerated: list[str] = []
        self.pid: int | None = None
        for directory in (self.primary, self.secondary, self.mount, *self._own_dirs().values()):
            directory.mkdir(parents=True, exist_ok=True)

    def _own_dirs(self) -> dict[str, Path]:
        return {
            "TWINFS_CONFIG_DIR": self.base / "config",
            "TWINFS_STATE_DIR": self.base / "state",
            "TWINFS_RUN_DIR": self.run_dir,
        }

    @property
    def env(self) -> dict[str, str]:
        return {key: str(value) for key, value in self._own_dirs().items()}

    @property
    def config_file(self) -> Path:
        """The volume's TOML, wherever below the configuration directory it is kept."""
        found = sorted((self.base / "config").rglob(f"{self.name}.toml"))
        assert found, f"init wrote no {self.name}.toml below {self.base / 'config'}"
        return found[0]

    @property
    def state(self) -> Path:
        return self.base / "state" / self.name

    # -- commands

    def twinfs(
        self, *args: str | Path, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return run(*self.command_prefix, *twinfs_command(), *args, env=self.env, check=check, timeout=timeout)

    def start_twinfs(self, *args: str | Path) -> subprocess.Popen[str]:
        """Start a command without waiting for its end."""
        return subprocess.Popen(
            [*self.command_prefix, *twinfs_command(), *map(str, args)],
            env={**os.environ, **QUIET, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def init(self, *options: str) -> Volume:
        words = ["--mode", self.mode]
        if self.mode == "batched" and "--at" not in options:
            words += ["--interval", self.interval]
        self.twinfs("init", self.primary, self.secondary, "--name", self.name, *words, *options)
        return self

    def mount_it(self, *options: str) -> Volume:
        if self not in LIVE:
            LIVE.append(self)
        self.twinfs("mount", self.name, self.mount, *options)
        self.pid = self.status()["pid"]
        return self

    def configure(self, *lines: str) -> None:
        """Put settings at the head of the volume's TOML, where no table has begun yet."""
        self.config_file.write_text("\n".join(lines) + "\n" + self.config_file.read_text())

    def status(self) -> dict[str, Any]:
        done = self.twinfs("status", self.name, "--json", check=False)
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"status --json printed no JSON object: {describe(done)}") from None
        return found

    def pending(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status()["pending"]
        return found

    def sync(self) -> None:
        done = self.twinfs("sync", self.name, check=False)
        assert done.returncode == 0, f"{describe(done)}\n{self.twinfs('events', self.name).stdout[-3000:]}"

    def umount(self) -> None:
        self.twinfs("umount", self.name)
        assert not is_mounted(self.mount), f"{self.mount} is still mounted after umount"
        self.wait_until_dead()
        if self in LIVE:
            LIVE.remove(self)

    # -- violence

    def kill(self) -> None:
        """SIGKILL the daemon and wait until it is gone."""
        assert self.pid is not None, "not mounted"
        os.kill(self.pid, signal.SIGKILL)
        self.wait_until_dead()

    def wait_until_dead(self, timeout: float = 30) -> None:
        pid, self.pid = self.pid, None
        if pid is not None:
            wait_until(lambda: not is_running(pid), timeout, f"the daemon {pid} did not end")

    def remount(self) -> None:
        """Mount again after a kill, over the dead mount that it left."""
        self.mount_it()

    # -- promises

    def assert_legs_equal(self) -> None:
        """After `twinfs sync`: rsync finds nothing to do, nor do we, who look at more than rsync does."""
        self.sync()
        self.assert_rsync_finds_nothing()
        tree.assert_same(self.primary, self.secondary)
        self.assert_legs_in_sync()

    def assert_rsync_finds_nothing(self) -> None:
        command = (tool("rsync", "rsync"), "-aHAXnic", "--delete", "--exclude=/.twinfs")
        done = run(*command, f"{self.primary}/", f"{self.secondary}/")
        assert done.stdout + done.stderr == "", describe(done)

    def assert_legs_in_sync(self) -> None:
        status = self.status()
        assert [leg["state"] for leg in status["legs"]] == ["in_sync", "in_sync"], status

    def assert_log_is_quiet(self) -> None:
        """No unexpected line in the daemon's log: an error that no caller saw is an error nobody mends."""
        log = self.state / "daemon.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        bad = [line for line in lines if _TROUBLE.search(line)]
        bad = [line for line in bad if not any(re.search(known, line) for known in self.tolerated)]
        assert not bad, f"{log}:\n" + "\n".join(lines[-60:])

    def tear_down(self) -> None:
        """Unmount whatever happened, then say what the daemon had to complain of."""
        try:
            if is_mounted(self.mount):
                self.twinfs("umount", self.name)
                self.wait_until_dead()
        finally:
            self.abandon()
            if self in LIVE:
                LIVE.remove(self)
        self.assert_log_is_quiet()

    def abandon(self) -> None:
        """Take away mount and daemon by force; callers that hang in the mount get an error."""
        for _ in range(8):
            if not is_mounted(self.mount):
                break
            # -f ends the connection, so that nobody waits in it; -l takes away what is still busy.
            forced = ["umount", "-f"] if IS_ROOT else ["fusermount3", "-u", "-z"]
            if run(*forced, self.mount, check=False).returncode != 0 and IS_ROOT:
                run("umount", "-l", self.mount, check=False)
        if self.pid is not None and is_running(self.pid):
            os.kill(self.pid, signal.SIGKILL)
            self.wait_until_dead()


def is_running(pid: int) -> bool:
    """A zombie is not running: who should reap it is not ours to say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], Any], timeout: float, complaint: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{complaint} within {timeout} s"
        time.sleep(0.02)


def as_user_prefix(uid: int) -> tuple[str, ...]:
    """Words that run a command as another user, without groups of root's."""
    setpriv = shutil.which("setpriv") or "setpriv"
    return (setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
