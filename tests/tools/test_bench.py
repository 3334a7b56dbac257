"""A smoke run of the benchmark: its figures are noise, its report is whole, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from support.machine import needs_root

BENCH = Path(__file__).resolve().parents[2] / "tools" / "bench"
SYSTEMS = {"plain", "rsync", "twinfs sync", "twinfs batched"}
SYSTEM_OPTIONS = [word for name in sorted(SYSTEMS) for word in ("--system", name)]


@pytest.fixture
def scratch(tmp_path):
    directory = tmp_path / "legs"
    directory.mkdir()
    return directory


def start(scratch: Path, *options: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    words = [sys.executable, BENCH, "--quick", "--dir", scratch, "--out", scratch.parent / "out", *options]
    return subprocess.Popen(
        words,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def report(scratch: Path) -> dict:
    return json.loads((scratch.parent / "out" / "bench.json").read_text())


def wait_for_mount(scratch: Path) -> None:
    deadline = time.monotonic() + 60
    while str(scratch) not in Path("/proc/self/mountinfo").read_text():
        assert time.monotonic() < deadline, "nothing was mounted"
        time.sleep(0.01)


def assert_nothing_left(scratch: Path) -> None:
    assert os.listdir(scratch) == []
    assert str(scratch) not in Path("/proc/self/mountinfo").read_text()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert os.fsencode(scratch) not in entry.read_bytes(), f"{entry.parent} still runs"
        except OSError:
            continue  # ended meanwhile


def test_it_reports_ratios_drains_memory_and_a_chart(scratch):
    process = start(scratch, "--only", "small-files", "--only", "walk", *SYSTEM_OPTIONS)
    output, errors = process.communicate(timeout=110)
    assert process.returncode == 0, output + errors
    assert_nothing_left(scratch)
    found = report(scratch)
    assert found["type"] == "bench"
    assert found["is_complete"]
    assert found["troubles"] == []
    results = found["results"]
    assert {result["system"] for result in results} == SYSTEMS
    phases = {result["phase"] for result in results}
    assert len(results) == len(phases) * len(SYSTEMS)
    for result in results:
        assert result["seconds"] > 0
        assert (result["ratio"] == 1) or result["system"] != "plain"
        drains = result["system"] == "twinfs batched" and result["phase"] in ("create 4 KiB files", "unlink")
        assert (result["drain_seconds"] is not None) == drains, result
    assert {sample["system"] for sample in found["memory"]} == {"twinfs sync", "twinfs batched"}
    assert all(10e6 < sample["peak_bytes"] < 500e6 for sample in found["memory"])

    chart = ElementTree.parse(scratch.parent / "out" / "bench.svg").getroot()
    assert chart.tag == "{http://www.w3.org/2000/svg}svg"
    texts = {element.text for element in chart.iter("{http://www.w3.org/2000/svg}text")}
    assert phases | (SYSTEMS - {"plain"}) <= texts
    assert all(phase in output for phase in phases)


def test_interrupted_it_keeps_what_it_measured_and_leaves_nothing_behind(scratch):
    process = start(scratch, "--only", "small-files", "--system", "twinfs batched")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[2/2]"):
            break
    wait_for_mount(scratch)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    assert process.returncode == 130
    assert_nothing_left(scratch)
    found = report(scratch)
    assert not found["is_complete"]
    assert {result["system"] for result in found["results"]} >= {"plain"}


def test_a_failing_system_is_reported_and_the_others_go_on(scratch, tmp_path):
    """An rsync that fails stands for any system that breaks in the middle."""
    programs = tmp_path / "programs"
    programs.mkdir()
    broken = programs / "rsync"
    broken.write_text("#!/bin/sh\necho no room left >&2\nexit 11\n")
    broken.chmod(0o755)
    process = start(
        scratch,
        "--only",
        "small-files",
        "--system",
        "rsync",
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
    )
    process.communicate(timeout=100)
    assert process.returncode == 1
    assert_nothing_left(scratch)
    (trouble,) = report(scratch)["troubles"]
    assert (trouble["system"], trouble["workload"]) == ("rsync", "small-files")
    assert "no room left" in trouble["message"]
    assert {result["system"] for result in report(scratch)["results"]} == {"plain"}


def test_a_scrub_is_compared_with_cat_and_rsync(scratch):
    process = start(scratch, "--scrub")
    output, errors = process.communicate(timeout=110)
    assert process.returncode == 0, output + errors
    assert_nothing_left(scratch)
    found = json.loads((scratch.parent / "out" / "scrub.json").read_text())
    assert [each["what"] for each in found] == ["cat of both legs", "twinfs scrub", "rsync -aHAXnc --delete"]
    assert all(each["seconds"] > 0 and each["peak_bytes"] > 1e6 for each in found)


@needs_root
def test_reads_of_two_throttled_disks_are_compared(scratch):
    process = start(scratch, "--reads")
    output, errors = process.communicate(timeout=110)
    if "no control group" in errors:
        pytest.skip(errors)
    assert process.returncode == 0, output + errors
    assert_nothing_left(scratch)
    assert str(scratch) not in subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout
    found = json.loads((scratch.parent / "out" / "reads.json").read_text())
    systems = ["one disk", "twinfs primary", "twinfs balance", "twinfs stripe", "btrfs raid1"]
    cases = dict.fromkeys(each["case"] for each in found)
    assert [(each["case"], each["system"]) for each in found] == [(c, s) for c in cases for s in systems]
    assert len(cases) == 4
    assert all(each["seconds"] > 0 and each["low"] <= each["ratio"] <= each["high"] for each in found)
    assert all(each["ratio"] == 1 for each in found if each["system"] == "one disk")


@needs_root
@pytest.mark.parametrize(
    ("system", "program"),
    (("mergerfs", "mergerfs"), ("glusterfs", "glusterd"), ("btrfs raid1", "mkfs.btrfs")),
)
def test_a_peer_is_measured_and_leaves_nothing_behind(scratch, system, program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: the bench does not need it")
    namespaces = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    process = start(scratch, "--only", "small-files", "--system", system)
    output, errors = process.communicate(timeout=110)
    assert process.returncode == 0, output + errors
    assert_nothing_left(scratch)
    assert str(scratch) not in subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout
    assert subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout == namespaces
    found = report(scratch)
    assert found["troubles"] == []
    assert {result["system"] for result in found["results"]} == {"plain", system}


def test_a_peer_that_is_not_installed_is_named_with_the_way_to_have_it(scratch, tmp_path):
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    process = start(scratch, "--only", "small-files", "--system", "mergerfs", env={"PATH": str(nothing)})
    _, errors = process.communicate(timeout=110)
    assert process.returncode == 0, errors
    assert "apt-get install --no-install-recommends mergerfs" in " ".join(errors.split())
    (trouble,) = report(scratch)["troubles"]
    assert (trouble["system"], trouble["workload"]) == ("mergerfs", "all")


def test_growth_is_measured_and_drawn(scratch):
    process = start(scratch, "--growth")
    output, errors = process.communicate(timeout=110)
    assert process.returncode == 0, output + errors
    assert_nothing_left(scratch)
    found = json.loads((scratch.parent / "out" / "growth.json").read_text())
    assert [each["files"] for each in found["files"]] == [1000]
    (grown,) = found["files"]
    assert grown["resync"].keys() == {"1", "10"}
    seconds = [grown[name] for name in ("mount", "first_walk", "warm_walk", "plain_walk", "status", "rsync")]
    assert all(value > 0 for value in (*seconds, *grown["resync"].values(), *grown["memory_bytes"]))
    assert {(each["size"], each["system"]) for each in found["sizes"]} == {
        (size, system) for size in (4096, 65536) for system in ("plain", "twinfs sync", "twinfs batched")
    }
    chart = ElementTree.parse(scratch.parent / "out" / "growth.svg").getroot()
    texts = {element.text for element in chart.iter("{http://www.w3.org/2000/svg}text")}
    assert {"warm walk", "resync, 10 changed", "rsync -aHAXn", "1,000"} <= texts


def test_growth_of_too_few_files_is_refused(scratch):
    process = start(scratch, "--growth", "--files", "10")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "at least 1000" in errors
    assert_nothing_left(scratch)
