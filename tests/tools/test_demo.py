"""The demo leaves nothing behind: not when it succeeds, not when it fails, not when it is ended."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

DEMO = Path(__file__).resolve().parents[2] / "tools" / "demo.py"


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where the demo makes its folder; short, because sockets below it have names of at most 107 bytes."""
    directory = tmp_path / "t"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr("tempfile.tempdir", None)
    return directory


@pytest.fixture
def demo(scratch, monkeypatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("twinfs_demo", DEMO)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)  # pytest's handlers are not ours to change
    return module


def start(scratch: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, DEMO],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_nothing_left(scratch: Path) -> None:
    assert os.listdir(scratch) == []
    assert str(scratch) not in Path("/proc/self/mountinfo").read_text()
    mark = os.fsencode(f"TWINFS_STATE_DIR={scratch}")
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            assert mark not in entry.read_bytes(), f"{entry.parent} still runs"
        except OSError:
            continue  # ended meanwhile


def test_it_shows_every_step_and_leaves_nothing_behind(scratch):
    output, errors = start(scratch).communicate(timeout=120)
    assert "All of it worked" in output, output + errors
    assert errors == ""
    assert_nothing_left(scratch)


@pytest.mark.parametrize("steps_before", [1, 3, 5])
def test_a_failing_step_is_named_and_leaves_nothing_behind(demo, scratch, monkeypatch, capsys, steps_before):
    def fail(stage):
        raise demo.DemoError("nothing like this")

    monkeypatch.setattr(demo, "STEPS", (*demo.STEPS[:steps_before], fail))
    assert demo.main() == 1
    assert "demo failed: nothing like this" in capsys.readouterr().err
    assert_nothing_left(scratch)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_ended_by_a_signal_it_leaves_nothing_behind(scratch, number, code):
    process = start(scratch)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("== Write"):
            break
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert_nothing_left(scratch)


def test_a_difference_between_the_legs_is_found(demo, tmp_path):
    stage = demo.Stage(tmp_path)
    for leg in (stage.primary, stage.secondary):
        leg.mkdir()
        (leg / "file").write_text("same")
        os.utime(leg / "file", ns=(0, 0))
    demo.expect_equal(stage)
    os.utime(stage.secondary / "file", ns=(0, 1))
    with pytest.raises(demo.DemoError, match="differ at file"):
        demo.expect_equal(stage)
