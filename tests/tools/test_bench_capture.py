"""A smoke run of the benchmark of captures: its figures are noise, its report is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from support.machine import describe, run

BENCH = Path(__file__).resolve().parents[2] / "tools" / "bench"
PROGRAMS = {"ddrescue", "twinfs-capture"}


def bench(scratch: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ("capture", "--quick", "--dir", scratch, "--out", scratch.parent / "out", *options)
    return run(sys.executable, BENCH, *words, check=False)


def test_it_reports_times_ratios_memory_and_reads(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = set(os.listdir("/dev/shm"))
    done = bench(scratch, "--only", "memory", "--only", "bad")
    assert done.returncode == 0, describe(done)
    found = json.loads((tmp_path / "out" / "capture.json").read_text())
    assert (found["type"], found["is_quick"], found["troubles"]) == ("capture-bench", True, [])
    cases: dict[str, dict[str, dict]] = {}
    for line in found["lines"]:
        cases.setdefault(line["case"], {})[line["program"]] = line
        assert line["seconds"] > 0
        assert line["program"] in done.stdout
    [memory] = [case for case in cases if case.startswith("memory")]
    assert {*PROGRAMS, "dd bs=1M", "twinfs-capture, blake3"} <= set(cases[memory])
    assert cases[memory]["dd bs=1M"]["ratio"] == 1
    assert 15 << 20 < cases[memory]["twinfs-capture, blake3"]["peak_bytes"] < 80 << 20
    for kind in ("scattered", "in clusters"):
        [case] = [case for case in cases if kind in case]
        reads = {name: int(line["note"].split()[0]) for name, line in cases[case].items()}
        assert reads.keys() == PROGRAMS
        # Fewer, where failing costs as little as here; a busy machine can make it look dear.
        assert reads["twinfs-capture"] < 1.2 * reads["ddrescue"]
    assert os.listdir(scratch) == []
    assert set(os.listdir("/dev/shm")) <= before
    assert str(scratch) not in Path("/proc/self/mountinfo").read_text()


def test_what_it_does_not_know_is_refused(tmp_path):
    done = bench(tmp_path, "--only", "tape")
    assert done.returncode == 2
    assert "memory" in done.stderr
