"""`make fuzz` for some seconds, so that it works when it is wanted, and what it needs to find anything."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from images import fuzz_formats
from support.machine import needs_root, run

pytest.importorskip("atheris", reason="there is no wheel of it for this machine")

SECONDS = 3
HELPERS = "import sys; sys.argv = ['x']; from images import fuzz_formats, guided; "


def inside(script: str) -> str:
    """In a process of its own: importing guided.py instruments all readers there are."""
    return run(sys.executable, "-c", HELPERS + script, env={"PYTHONPATH": str(fuzz_formats.TESTS)}).stdout


@pytest.mark.parametrize("name", ["tables", pytest.param("xfs_5", marks=needs_root), "erofs_lz4"])
def test_some_seconds_find_nothing(tmp_path: Path, name: str) -> None:
    assert fuzz_formats.fuzz(name, tmp_path, SECONDS) == ""
    log = (tmp_path / f"{name}.log").read_text()
    [covered] = re.findall(r"INITED cov: (\d+)", log)
    assert int(covered) > 150, "the readers are not instrumented, or the sound image is not read"


def test_behind_checksums_is_reached() -> None:
    script = (
        "from unit.images.memory import MemorySource; from twinfs.images.partitions import read_table; "
        "disk = MemorySource(fuzz_formats.tables()[2][1:]); "
        "count = lambda: len(read_table(disk, lambda *_: False).partitions); "
        "guided.let_checksums_pass(True); before = count(); guided.let_checksums_pass(False); "
        "print(before, count())"
    )
    with_all, checked = map(int, inside(script).split())
    assert with_all == 3
    assert checked != 3


def test_whatever_is_no_answer_is_found_and_kept(tmp_path: Path) -> None:
    script = (
        "guided.use_all = lambda source: 1 / (source.read_at(0, 3) != b'BUG'); "
        f"sys.argv = ['x', '-', '{tmp_path / 'corpus'}', '5']; guided.main()"
    )
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "one").write_bytes(b"\0BUG" + bytes(20))
    done = run(
        sys.executable, "-c", HELPERS + script, env={"PYTHONPATH": str(fuzz_formats.TESTS)}, check=False
    )
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stdout + done.stderr
    [found] = tmp_path.glob("corpus.crash-*")
    assert found.read_bytes()[1:4] == b"BUG"


def test_what_works_for_ever_is_found() -> None:
    script = (
        "guided.fuzzing.PATIENCE_SECONDS = 1\n"
        "def for_ever(data):\n while True: pass\n"
        "try: guided.within_limits(for_ever)(b'')\n"
        "except TimeoutError as error: print('found', error)"
    )
    assert "found more than 1 s" in inside("\n" + script)
