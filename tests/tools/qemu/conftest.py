"""Fixtures of the machines' tests: the command as a user would run it, and guests that really boot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import guest
from support.guest import Console
from support.machine import QUIET, run
from support.volume import is_running, wait_until

COMMAND = Path(sys.executable).parent / "twinfs-qemu"


class Machines:
    """`twinfs-qemu` with a run directory of its own, in this network namespace or another."""

    def __init__(self, base: Path, prefix: tuple[str, ...] = ()) -> None:
        self.base, self.prefix = base, prefix
        self.run_dir = base / "run"
        self.initramfs = base / "initramfs"
        self.started: list[subprocess.Popen[str]] = []
        self.consoles: list[Console] = []

    @property
    def env(self) -> dict[str, str]:
        return {"TWINFS_RUN_DIR": str(self.run_dir)}

    @property
    def twinfs_env(self) -> dict[str, str]:
        return {**self.env, "TWINFS_STATE_DIR": str(self.base / "state")}

    def qemu(
        self, *words: str | Path, check: bool = True, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        return run(*self.prefix, COMMAND, *words, env=self.env, check=check, timeout=timeout)

    def refusal(self, *words: str | Path) -> str:
        done = self.qemu(*words, check=False)
        assert (done.returncode, done.stdout) == (2, ""), done
        return done.stderr

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """In the foreground, as on a terminal that is none."""
        process = subprocess.Popen(
            [*self.prefix, COMMAND, *map(str, words)],
            env={**os.environ, **QUIET, **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def list(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.qemu("list", "--json").stdout.splitlines()]

    def directory(self, name: str) -> Path:
        return self.run_dir / "qemu" / "machines" / name

    def linux(self, words: str = "", kernel_name: str = "vmlinux") -> tuple[str | Path, ...]:
        """What makes a machine boot the tests' Linux: small, on a processor that is emulated fast."""
        if not self.initramfs.exists():
            guest.make_initramfs(self.initramfs)
        kernel = ("-kernel", guest.kernel(kernel_name), "-initrd", self.initramfs)
        return ("--", *kernel, "-append", f"console=ttyS0 quiet {words}", "-cpu", "qemu64")

    def boot(self, name: str, disk: Path, *options: str | Path, words: str = "") -> Console:
        small = ("--memory", "256M", "--cpus", "1")
        self.qemu("run", disk, "--name", name, "--detach", *small, *options, *self.linux(words))
        return self.console(name)

    def console(self, name: str, timeout: float = 120) -> Console:
        """When it has booted."""
        self.consoles.append(Console(self.directory(name) / "console.sock", timeout))
        return self.consoles[-1]

    def start_beside(self, *words: str | Path) -> subprocess.Popen[str]:
        """Another program, that looks for machines where these are."""
        process = subprocess.Popen(
            [*map(str, words)],
            env={**os.environ, **QUIET, **self.twinfs_env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Whatever a failed test has left."""
        for console in self.consoles:
            console.close()
        for machine in self.list():
            self.qemu("stop", machine["name"], "--timeout", "0", check=False)
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            if process.stdout is None or not process.stdout.closed:
                process.communicate()


@pytest.fixture
def machines(workspace: Path) -> Iterator[Machines]:
    found = Machines(workspace)
    yield found
    found.end()


@pytest.fixture
def disk(machines: Machines) -> Path:
    path = machines.base / "disk.qcow2"
    machines.qemu("create", path, "64M")
    return path


def wait_until_gone(pid: int) -> None:
    wait_until(lambda: not is_running(pid), 60, f"process {pid} did not end")
