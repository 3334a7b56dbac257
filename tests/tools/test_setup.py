"""tools/setup.sh on machines that lack things, played by stand-ins for dpkg-query, apt-get and id."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """A checkout of its own with a setup.sh, and a PATH whose first directory holds the stand-ins."""

    def __init__(self, base: Path) -> None:
        self.checkout = base / "checkout"
        self.programs = base / "bin"
        self.apt_log = base / "apt.log"
        (self.checkout / "tools").mkdir(parents=True)
        self.programs.mkdir()
        (self.checkout / "src" / "twinfs" / "fuse").mkdir(parents=True)
        compiled = "src/twinfs/fuse/listing_cache.c"
        for name in ("tools/setup.sh", "tools/fetch_guest.sh", "pyproject.toml", "setup.py", compiled):
            shutil.copy(ROOT / name, self.checkout / name)

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def has_packages(self, *, all_but: str) -> None:
        """dpkg-query prints `name/installed ` for what is there, nothing for the rest."""
        self.program(
            "dpkg-query",
            f'for word; do case $word in -*|{all_but}) ;; *) printf "%s/installed " "$word" ;; esac; done',
        )

    def apt_get(self, script: str) -> None:
        self.program("apt-get", f'echo "$*" >>"{self.apt_log}"; {script}')

    def set_up(self, what: str = "run") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "tools" / "setup.sh", what],
            env={**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_an_ordinary_user_is_told_the_command_and_nothing_is_installed(machine):
    machine.has_packages(all_but="libfuse3-dev|fuse3")
    machine.program("id", "echo 1000")
    machine.apt_get("exit 0")
    done = machine.set_up()
    assert done.returncode == 1
    assert "sudo apt-get install --no-install-recommends libfuse3-dev fuse3\n" in done.stderr
    assert not machine.apt_log.exists()
    assert not (machine.checkout / ".venv").exists()


def test_root_installs_only_what_is_missing_and_refreshes_stale_lists_once(machine):
    machine.has_packages(all_but="libfuse3-dev")
    machine.program("id", "echo 0")
    machine.apt_get('[ "$2" = update ]')
    done = machine.set_up()
    assert done.returncode == 1
    assert "apt-get could not install libfuse3-dev" in done.stderr
    calls = machine.apt_log.read_text().splitlines()
    assert calls.count("-q update") == 1
    assert calls[-1] == "-q install --yes --no-install-recommends libfuse3-dev"


def test_the_tests_ask_for_more_packages_than_running_does(machine):
    machine.has_packages(all_but="fio")
    machine.program("id", "echo 1000")
    assert "fio" in machine.set_up("test").stderr


def test_without_a_usable_python_its_packages_are_asked_for_too(machine):
    machine.has_packages(all_but="python3|python3-venv|python3-dev")
    machine.program("id", "echo 1000")
    machine.program("python3", "exit 1")
    script = machine.checkout / "tools" / "setup.sh"
    script.write_text(script.read_text().replace("/usr/bin/python3", "/nonexistent/python3"))
    done = machine.set_up()
    assert done.returncode == 1
    assert "python3 python3-venv python3-dev\n" in done.stderr


def test_a_python_that_stays_too_old_is_refused_with_what_to_do(machine):
    machine.has_packages(all_but="none")
    machine.program("python3", "exit 1")
    script = machine.checkout / "tools" / "setup.sh"
    script.write_text(script.read_text().replace("/usr/bin/python3", "/nonexistent/python3"))
    done = machine.set_up()
    assert done.returncode == 1
    assert "PYTHON=/path/to/python3 make setup" in done.stderr


def test_every_package_that_a_test_needs_is_installed():
    """Tests say `tool("setfacl", "acl")`: a program and the package it comes from."""
    named = {
        package
        for path in (ROOT / "tests").rglob("*.py")
        for package in re.findall(r'\btool\("[\w.-]+", "([\w.+-]+)"\)', path.read_text())
    }
    listed = re.search(r'^test_packages="([^"]*)"$', (ROOT / "tools" / "setup.sh").read_text(), re.MULTILINE)
    assert listed is not None
    assert named - {"acl"} != set(), "the pattern finds nothing any more"
    assert named <= set(listed[1].split())


@pytest.mark.parametrize("what", ["install", "uninstall"])
def test_only_root_may_install_for_the_machine(machine, what):
    machine.program("id", "echo 1000")
    done = machine.set_up(what)
    assert done.returncode == 1
    assert f"sudo make {what}" in done.stderr


def test_a_word_it_does_not_know_prints_its_usage(machine):
    done = machine.set_up("everything")
    assert done.returncode == 1
    assert "usage:" in done.stderr
