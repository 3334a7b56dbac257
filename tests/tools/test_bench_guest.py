"""A smoke run of the guest's benchmark: its figures are noise, its table is whole, and it leaves nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.machine import mounts_under, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_guest_is_measured_in_a_directory_and_in_volumes(tmp_path):
    words = (
        sys.executable,
        "-m",
        "tools.bench.guest",
        "--rounds",
        "1",
        "--megabytes",
        "8",
        "--dir",
        tmp_path,
    )
    done = run(*words, cwd=ROOT, timeout=600)
    lines = done.stdout.splitlines()
    assert lines[0] == "| in the guest | plain, MiB/s | twinfs sync | twinfs batched |"
    rates = [[float(cell.split()[0]) for cell in line.split("|")[2:5]] for line in lines[2:]]
    assert len(rates) == 5
    assert all(rate > 0 for row in rates for rate in row)
    assert not mounts_under(tmp_path)
    assert os.listdir(tmp_path) == []
