"""Scrubs that are cut short, go on, read a part, and what is told of them afterwards."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.faults import LARGE, SPARSE, flip, make_tree
from support.scrubbing import (
    asked,
    judged,
    runs,
    scrub,
    scrubbed_volume,
    wait_until_reading,
    wait_until_recorded,
)
from support.volume import Volume, wait_until


def test_killed_half_way_it_goes_on_where_it_was(new_volume):
    """At 8 MB/s each of the two large files takes a second: when something has been read, one is left."""
    volume = new_volume("sync").init().mount_it()
    make_tree(volume.mount)
    (volume.mount / "quiet/large").write_bytes(os.urandom(LARGE))
    scrub(volume, expect=0)
    flip(volume.secondary / "docs/small-00", 5)
    flip(volume.secondary / "quiet/11", 5)
    before = runs(volume)
    process = volume.start_twinfs("scrub", volume.name, "--json", "--max-rate", "8M")
    wait_until_reading(volume, bytes_read=1)
    volume.kill()
    process.communicate(timeout=30)
    assert process.returncode == 8
    assert asked(volume, "SELECT count(*) FROM todo") > 0, "or this was no kill half way"
    volume.remount()
    found, summary = scrub(volume, "--repair", expect=1)
    assert set(judged(found)) == {"docs/small-00", "quiet/11"}
    assert summary["mismatches"] == 2
    assert summary["bytes"] > SPARSE, "what was read before counts"
    assert runs(volume) == before + 1


def test_interrupted_by_its_user_it_ends_with_32_and_goes_on_later(new_volume):
    for is_mounted in (True, False):
        volume = new_volume("sync", name=f"pair{is_mounted}").init().mount_it()
        (volume.mount / "big").write_bytes(os.urandom(3_000_000))
        if not is_mounted:
            volume.umount()
        process = volume.start_twinfs("scrub", volume.name, "--max-rate", "100K")
        wait_until_reading(volume)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 32, output + errors
        assert "goes on from here" in errors
        if is_mounted:
            wait_until(lambda volume=volume: "scrub" not in volume_tasks(volume), 5, "the scrub went on")
        scrub(volume, expect=0)


def volume_tasks(volume: Volume) -> str:
    """The command lines of the daemon's children."""
    children = Path(f"/proc/{volume.pid}/task/{volume.pid}/children").read_text().split()
    return " ".join(Path(f"/proc/{child}/cmdline").read_text() for child in children)


def test_plans_read_what_they_say(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    assert scrub(volume, "--plan", "new", expect=0)[1]["bytes"] == 0
    (volume.mount / "docs/small-00").write_bytes(b"new" * 1000)
    # Its hash is known then, but neither disk has been read.
    wait_until_recorded(volume, "small-00")
    assert scrub(volume, "--plan", "new", expect=0)[1]["bytes"] == 3000
    assert scrub(volume, "--plan", "new", expect=0)[1]["bytes"] == 0
    whole = scrub(volume, "--plan", "full", expect=0)[1]["bytes"]
    part = scrub(volume, "--plan", "5%", expect=0)[1]["bytes"]
    assert 0 < part < whole
    # The rest of it comes with the next ones, the longest unscrubbed first.
    flip(volume.secondary / "sparse", 1000)
    for _ in range(25):
        done = volume.twinfs("scrub", volume.name, "--plan", "5%", "--json", check=False)
        if done.returncode == 4:
            break
    else:
        pytest.fail("20 times 5% did not read everything")


def test_two_at_once_are_refused(new_volume):
    volume = new_volume("sync").init().mount_it()
    (volume.mount / "big").write_bytes(os.urandom(3_000_000))
    first = volume.start_twinfs("scrub", volume.name, "--max-rate", "100K")
    wait_until_reading(volume)
    second = volume.twinfs("scrub", volume.name, check=False)
    assert second.returncode == 8
    assert "already" in second.stderr
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)


def test_status_tells_of_the_last_scrub_and_complains_when_it_is_long_ago(new_volume):
    volume = new_volume("sync").init()
    volume.configure('scrub_max_age = "30d"')
    volume.mount_it()
    status = volume.status()
    assert status["last_scrub"] is None
    assert "twinfs scrub pair" in status["action"]
    (volume.mount / "file").write_bytes(b"12345")
    scrub(volume, expect=0)
    status = volume.status()
    assert status["last_scrub"].items() >= {"mismatches": 0, "repaired": 0, "bytes": 5}.items()
    assert status["action"] is None
    volume.umount()
    assert volume.status()["last_scrub"]["bytes"] == 5


def test_nobody_reads_clean_while_a_mismatch_is_left(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    flip(volume.secondary / "docs/small-00", 5)
    scrub(volume, expect=4)
    status = volume.status()
    assert status["state"] == "degraded"
    assert "twinfs scrub pair --repair" in status["action"]
    assert volume.twinfs("status", volume.name, check=False).returncode == 3
    scrub(volume, "--repair", expect=1)
    status = volume.status()
    assert (status["state"], status["action"]) == ("clean", None)


def test_the_report_stands_alone_and_draws_the_history(new_volume, tmp_path):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=False)
    flip(volume.secondary / "docs/small-00", 5)
    (volume.secondary / "docs/<b>&").write_text("foreign")
    scrub(volume, "--repair", "--report", str(tmp_path / "report.html"), expect=1)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<rect") == 2
    assert "docs/small-00" in page
    assert "docs/&lt;b&gt;&amp;" in page
    assert "http" not in page.replace("http-equiv", "")
