"""Naming who keeps a mount busy, on a real mount with real processes."""

from __future__ import annotations

import _ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.machine import needs_root, run
from twinfs.daemon import holders

pytestmark = needs_root

HOLD = {
    "works in": "import os; os.chdir(sys.argv[1])",
    "has its root in": "import os; out = os.open('/', os.O_PATH); os.chroot(sys.argv[1]); os.fchdir(out)",
    "open": "kept = open(sys.argv[1] + '/file')",
    # mmap.mmap would keep a descriptor as well; the loader does not.
    "mapped": "import ctypes; kept = ctypes.CDLL(sys.argv[1] + '/library.so')",
}


@pytest.fixture
def mounted(workspace):
    run("mount", "-t", "tmpfs", "none", workspace)
    (workspace / "file").write_bytes(b"")
    shutil.copy(_ctypes.__file__, workspace / "library.so")
    yield workspace
    run("umount", "-l", workspace)


@pytest.mark.parametrize("words", HOLD)
def test_a_process_is_named_with_what_it_holds(mounted, words):
    script = f"import sys; {HOLD[words]}; print('ready', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, mounted], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        found = holders.find(str(mounted))
        assert [holder.pid for holder in found] == [process.pid]
        assert words in found[0].what
        assert f"(pid {process.pid}): " in holders.describe(str(mounted))
    finally:
        process.communicate("")


def test_a_program_that_runs_from_the_mount_is_named(mounted):
    program = mounted / "sleep"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    process = subprocess.Popen([program, "60"])
    try:
        assert f"runs {program}" in holders.describe(str(mounted))
    finally:
        process.kill()
        process.wait()


def test_a_mount_inside_is_named(mounted):
    (mounted / "inner").mkdir()
    run("mount", "-t", "tmpfs", "none", mounted / "inner")
    try:
        assert f"another mount: {mounted}/inner" in holders.describe(str(mounted))
    finally:
        run("umount", mounted / "inner")


def test_nobody_is_named_when_nobody_is_there(mounted, tmp_path):
    assert holders.describe(str(mounted)) == "  nobody now; try again"
    assert holders.find(str(tmp_path / "missing")) == []
