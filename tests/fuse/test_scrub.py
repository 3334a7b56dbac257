"""`twinfs scrub`: every planted fault is found, judged right and repaired; nothing else is."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from support import tree
from support.faults import FAULTS, SPARSE, flip, make_tree, unnoticed
from support.machine import describe, needs_root
from support.volume import Volume, wait_until


def scrub(volume: Volume, *options: str, expect: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(the mismatches, the summary)."""
    done = volume.twinfs("scrub", volume.name, "--json", *options, check=False)
    assert done.returncode == expect, describe(done)
    *found, summary = map(json.loads, done.stdout.splitlines())
    assert all(line["type"] == "mismatch" for line in found)
    assert summary["type"] == "summary"
    return found, summary


def reads(volume: Volume) -> int:
    """How many scrubs were begun since the volume was made, besides the first."""
    with closing(sqlite3.connect(volume.state / "scrub.db")) as db:
        return int(db.execute("SELECT count(*) FROM run").fetchone()[0]) - 1


def judged(found: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {line["path"]: (line["kind"], line["bad_leg"]) for line in found}


def scrubbed_volume(new_volume: Callable[..., Volume], mode: str, *, is_mounted: bool) -> Volume:
    """With a tree in it that a scrub has found equal."""
    volume = new_volume(mode).init().mount_it()
    make_tree(volume.mount)
    if not is_mounted:
        volume.umount()
    scrub(volume, expect=0)
    return volume


@pytest.mark.parametrize(
    ("bad", "is_mounted", "mode"),
    [
        ("secondary", True, "sync"),
        ("primary", True, "batched"),
        ("secondary", False, "batched"),
        ("primary", False, "sync"),
    ],
)
def test_every_fault_of_a_leg_is_found_judged_right_and_repaired(new_volume, bad, is_mounted, mode):
    volume = scrubbed_volume(new_volume, mode, is_mounted=is_mounted)
    leg = volume.primary if bad == "primary" else volume.secondary
    good = tree.snapshot(volume.secondary if bad == "primary" else volume.primary)
    for fault in FAULTS:
        fault.plant(leg)
    expected = {fault.path: (fault.kind, bad) for fault in FAULTS}

    planted = tree.snapshot(leg)
    found, summary = scrub(volume, expect=4)
    assert judged(found) == expected
    assert (summary["mismatches"], summary["repaired"]) == (len(FAULTS), 0)
    assert tree.snapshot(leg) == planted, "a scrub without --repair changes nothing"

    found, summary = scrub(volume, "--repair", expect=1)
    assert judged(found) == expected
    assert all(line["repaired"] for line in found)
    assert (summary["mismatches"], summary["repaired"]) == (len(FAULTS), len(FAULTS))
    for root in (volume.primary, volume.secondary):
        assert tree.differences(good, tree.snapshot(root)) == []
    if is_mounted:
        tree.assert_same(volume.mount, volume.primary)
    assert scrub(volume, expect=0)[0] == []


def test_what_a_repair_replaced_is_in_quarantine_with_the_reason(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=False)
    flip(volume.secondary / "docs/small-00", 3)
    bad = (volume.secondary / "docs/small-00").read_bytes()
    scrub(volume, "--repair", expect=1)
    quarantine = volume.secondary / ".twinfs/quarantine"
    (reasons,) = quarantine.glob("*.jsonl")
    (reason,) = map(json.loads, reasons.read_text().splitlines())
    assert (reason["path"], reason["leg"]) == ("docs/small-00", "secondary")
    assert "bytes differ" in reason["why"]
    assert abs(reason["time"] - time.time()) < 60
    assert (volume.secondary / reason["kept_as"]).read_bytes() == bad


def test_a_foreign_file_on_the_secondary_goes_to_quarantine(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    (volume.secondary / "docs/foreign").write_text("put straight onto the secondary")
    found, _ = scrub(volume, "--repair", expect=1)
    assert judged(found) == {"docs/foreign": ("extra", "secondary")}
    assert not (volume.secondary / "docs/foreign").exists()
    (kept,) = (volume.secondary / ".twinfs/quarantine").glob("*/docs/foreign")
    assert kept.read_text() == "put straight onto the secondary"
    volume.assert_legs_equal()


def test_nothing_is_guessed_where_no_record_tells(new_volume):
    """Never scrubbed before, or changed on both legs."""
    volume = new_volume("sync").init().mount_it()
    make_tree(volume.mount)
    volume.umount()
    (volume.state / "scrub.db").unlink(missing_ok=True)
    flip(volume.primary / "docs/small-00", 3)
    flip(volume.secondary / "docs/small-01", 3)
    os.chmod(volume.secondary / "docs/small-02", 0o600)
    expected = {
        "docs/small-00": ("content", "unknown"),
        "docs/small-01": ("content", "unknown"),
        "docs/small-02": ("metadata", "unknown"),
    }
    found, _ = scrub(volume, "--repair", expect=4)
    assert judged(found) == expected
    found, _ = scrub(volume, "--repair", "--prefer", "secondary", expect=1)
    assert judged(found) == expected
    tree.assert_same(volume.primary, volume.secondary)
    assert (volume.primary / "docs/small-02").stat().st_mode & 0o777 == 0o600
    (kept,) = (volume.primary / ".twinfs/quarantine").glob("*/docs/small-01")
    assert kept.read_bytes() == b"small 1\n" * 40


def test_the_same_rot_on_both_legs_is_reported(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=False)
    for leg in (volume.primary, volume.secondary):
        flip(leg / "docs/small-04", 20)
    found, _ = scrub(volume, "--repair", expect=4)
    assert judged(found) == {"docs/small-04": ("content", "unknown")}
    assert "both copies are equal" in found[0]["detail"]
    scrub(volume, "--repair", "--prefer", "primary", expect=1)
    scrub(volume, expect=0)


def test_what_the_volume_changed_itself_is_no_mismatch(new_volume, mode="sync"):
    """Even with size and time as they were: the volume knows that it was changed."""
    volume = scrubbed_volume(new_volume, mode, is_mounted=True)
    with unnoticed(volume.mount / "docs/small-00"):
        (volume.mount / "docs/small-00").write_bytes(b"large 0\n" * 40)
    (volume.mount / "docs/small-01").unlink()
    (volume.mount / "docs/small-02").rename(volume.mount / "docs/small-01")
    (volume.mount / "docs/deep").rename(volume.mount / "deep")
    assert scrub(volume, expect=0)[0] == []
    # What was renamed is still known.
    flip(volume.primary / "deep/large", 5_000_000)
    found, _ = scrub(volume, expect=4)
    assert judged(found) == {"deep/large": ("content", "primary")}


def test_a_change_is_known_after_a_kill(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    with unnoticed(volume.mount / "docs/small-00"):
        (volume.mount / "docs/small-00").write_bytes(b"large 0\n" * 40)
    volume.kill()
    volume.remount()
    assert scrub(volume, expect=0)[0] == []


def test_a_repaired_primary_is_seen_through_the_mount(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    expected = (volume.mount / "docs/small-00").read_bytes()
    volume.umount()
    flip(volume.primary / "docs/small-00", 5)
    os.chmod(volume.primary / "docs/small-01", 0o600)
    volume.mount_it()
    assert (volume.mount / "docs/small-00").read_bytes() != expected  # and in the kernel's cache
    assert (volume.mount / "docs/small-01").stat().st_mode & 0o777 == 0o600
    scrub(volume, "--repair", expect=1)
    assert (volume.mount / "docs/small-00").read_bytes() == expected
    assert (volume.mount / "docs/small-01").stat().st_mode & 0o777 == 0o644
    (volume.mount / "docs/small-00").write_bytes(b"written after the repair")
    volume.assert_legs_equal()


def test_an_open_file_is_not_replaced_under_the_program_that_uses_it(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    flip(volume.primary / "docs/small-00", 5)
    with open(volume.mount / "docs/small-00", "r+b") as file:
        found, _ = scrub(volume, "--repair", expect=4)
        assert "a program has it open" in found[0]["detail"]
        file.seek(0, os.SEEK_END)
        file.write(b"more")
    volume.assert_legs_equal()


def test_a_secondary_file_that_is_open_for_writing_is_repaired_and_goes_on_being_written(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    with open(volume.mount / "docs/small-00", "r+b", buffering=0) as file:
        file.write(b"S")
        os.fsync(file.fileno())
        time.sleep(2.5)  # until the volume takes it as equal
        scrub(volume, expect=0)
        flip(volume.secondary / "docs/small-00", 5)
        found, _ = scrub(volume, "--repair", expect=1)
        assert judged(found) == {"docs/small-00": ("content", "secondary")}
        file.write(b"M")
        os.fsync(file.fileno())
    volume.assert_legs_equal()
    assert (volume.secondary / "docs/small-00").read_bytes().startswith(b"SMall")


def test_excluded_files_are_left_out(new_volume):
    volume = new_volume("sync").init()
    volume.configure('exclude = ["*.tmp"]')
    volume.mount_it()
    make_tree(volume.mount)
    (volume.mount / "a.tmp").write_text("on the primary only")
    (volume.secondary / "b.tmp").write_text("not ours")
    assert scrub(volume, expect=0)[0] == []


WRITER = """
import os, sys, random, time
root, seconds = sys.argv[1], float(sys.argv[2])
random.seed(int(sys.argv[3])); end = time.monotonic() + seconds
number = 0
while time.monotonic() < end:
    number += 1
    name = f"{root}/w{random.randrange(40)}"
    match random.randrange(6):
        case 0:
            with open(name, "wb") as file: file.write(os.urandom(random.randrange(200_000)))
        case 1:
            with open(name, "ab") as file: file.write(b"x" * random.randrange(5000))
        case 2:
            try: os.rename(name, f"{root}/w{random.randrange(40)}")
            except OSError: pass
        case 3:
            try: os.unlink(name)
            except OSError: pass
        case 4:
            try: os.chmod(name, random.choice((0o600, 0o640, 0o644)))
            except OSError: pass
        case 5:
            os.makedirs(f"{root}/d{number % 7}", exist_ok=True)
            open(f"{root}/d{number % 7}/f{number % 11}", "w").close()
"""


@pytest.mark.parametrize("mode", ["sync", "batched"])
def test_heavy_writing_is_never_taken_for_a_mismatch(new_volume, mode):
    heavy_writing(new_volume, mode, rounds=1)


@pytest.mark.slow
@pytest.mark.deadline(900)
@pytest.mark.parametrize("mode", ["sync", "batched"])
def test_heavy_writing_is_never_taken_for_a_mismatch_in_twenty_runs(new_volume, mode):
    heavy_writing(new_volume, mode, rounds=20)


def heavy_writing(new_volume: Callable[..., Volume], mode: str, rounds: int) -> None:
    volume = new_volume(mode).init().mount_it()
    make_tree(volume.mount)
    (volume.mount / "busy").mkdir()
    for number in range(rounds):
        command = [sys.executable, "-c", WRITER, str(volume.mount / "busy"), "4", str(number)]
        with subprocess.Popen(command) as writer:
            time.sleep(0.3)
            assert scrub(volume, expect=0)[0] == []
            assert writer.wait() == 0
    volume.assert_legs_equal()
    scrub(volume, expect=0)


def test_killed_half_way_it_goes_on_where_it_was(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    flip(volume.secondary / "docs/small-00", 5)
    flip(volume.secondary / "quiet/11", 5)
    process = volume.start_twinfs("scrub", volume.name, "--json", "--max-rate", "8M")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    volume.kill()
    process.communicate(timeout=30)
    assert process.returncode == 8
    volume.remount()
    found, summary = scrub(volume, "--repair", expect=1)
    assert {*judged(found), first["path"]} == {"docs/small-00", "quiet/11"}
    assert summary["mismatches"] == 2
    assert summary["bytes"] > SPARSE, "what was read before counts"
    assert reads(volume) == 1


def test_interrupted_by_its_user_it_ends_with_32_and_goes_on_later(new_volume):
    for is_mounted in (True, False):
        volume = new_volume("sync", name=f"pair{is_mounted}").init().mount_it()
        (volume.mount / "big").write_bytes(os.urandom(3_000_000))
        if not is_mounted:
            volume.umount()
        process = volume.start_twinfs("scrub", volume.name, "--max-rate", "100K")
        time.sleep(2)
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
    time.sleep(1.5)
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


def test_without_the_secondary_it_cannot_run(new_volume):
    volume = new_volume("sync").init()
    volume.secondary.rename(volume.base / "elsewhere")
    done = volume.twinfs("scrub", volume.name, check=False)
    assert done.returncode == 8
    assert "secondary" in done.stderr
    (volume.base / "elsewhere").rename(volume.secondary)


def test_two_at_once_are_refused(new_volume):
    volume = new_volume("sync").init().mount_it()
    (volume.mount / "big").write_bytes(os.urandom(3_000_000))
    first = volume.start_twinfs("scrub", volume.name, "--max-rate", "100K")
    time.sleep(2)
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


@needs_root
def test_flips_in_the_disk_image_are_found(new_volume, new_disk):
    """Below the file system, while the disk is out: neither times nor caches tell."""
    disks = [new_disk(name, size_bytes=64 << 20) for name in ("one", "two")]
    for disk in disks:
        (disk.path / "leg").mkdir()
    volume = new_volume("sync", legs=(disks[0].path / "leg", disks[1].path / "leg")).init().mount_it()
    marks = {f"file-{number}": b"mark-%06d-" % number * 800 for number in range(30)}
    for name, content in marks.items():
        (volume.mount / name).write_bytes(content)
    scrub(volume, expect=0)
    volume.umount()
    planted = {}
    for disk, role, chosen in zip(disks, ("primary", "secondary"), (range(3), range(7, 12)), strict=True):
        disk.take_out()
        image = bytearray(disk.image.read_bytes())
        for number in chosen:
            at = image.index(b"mark-%06d-" % number * 20)
            image[at + 123] ^= 1
            planted[f"file-{number}"] = ("content", role)
        disk.image.write_bytes(image)
        disk.put_in()
    found, summary = scrub(volume, "--repair", expect=1)
    assert judged(found) == planted
    assert summary["read"] == {"primary": "direct", "secondary": "direct"}
    for leg in (volume.primary, volume.secondary):
        for name, content in marks.items():
            assert (leg / name).read_bytes() == content
    scrub(volume, expect=0)


@needs_root
def test_it_reads_the_disk_and_not_the_page_cache(new_volume, new_disk):
    """The image is changed beneath a mounted file system, whose cache still has the right bytes."""
    disks = [new_disk(name, size_bytes=64 << 20) for name in ("one", "two")]
    for disk in disks:
        (disk.path / "leg").mkdir()
    volume = new_volume("sync", legs=(disks[0].path / "leg", disks[1].path / "leg")).init().mount_it()
    (volume.mount / "file").write_bytes(b"a file in the cache " * 1000)
    scrub(volume, expect=0)
    content = (volume.secondary / "file").read_bytes()
    image = disks[1].image
    at = image.read_bytes().index(b"a file in the cache " * 100)
    with open(image, "r+b") as raw:
        raw.seek(at)
        raw.write(b"A")
        os.fsync(raw.fileno())
    assert (volume.secondary / "file").read_bytes() == content, "or this test tests nothing"
    found, _ = scrub(volume, "--repair", expect=1)
    assert judged(found) == {"file": ("content", "secondary")}
    scrub(volume, expect=0)


def test_what_was_written_and_never_scrubbed_is_judged_by_its_record(new_volume):
    volume = new_volume("sync").init().mount_it()
    (volume.mount / "file").write_bytes(b"written and left alone" * 100)

    def is_recorded() -> bool:
        path = volume.state / "scrub.db"
        if not path.exists():
            return False
        with closing(sqlite3.connect(path)) as db, suppress(sqlite3.OperationalError):  # it is just made
            return bool(db.execute("SELECT count(*) FROM object WHERE content IS NOT NULL").fetchone()[0])
        return False

    wait_until(is_recorded, 30, "nothing was recorded")
    flip(volume.secondary / "file", 77)
    found, _ = scrub(volume, "--repair", expect=1)
    assert judged(found) == {"file": ("content", "secondary")}
    volume.assert_legs_equal()


@needs_root
def test_what_a_disk_does_not_give_is_bad_there(new_volume, new_disk):
    """The loop device's file ends before the last blocks of the file system: EIO, as from a bad sector."""
    disks = [new_disk(name, size_bytes=64 << 20) for name in ("one", "two")]
    for disk in disks:
        (disk.path / "leg").mkdir()
    volume = new_volume("sync", legs=(disks[0].path / "leg", disks[1].path / "leg")).init().mount_it()
    (volume.mount / "first").write_bytes(b"readable" * 1000)
    (volume.mount / "large").write_bytes(b"refused " * (1 << 20))
    volume.umount()
    image = disks[1].image
    end = image.stat().st_size
    content = image.read_bytes()
    at = content.index(b"refused " * 1000) + (1 << 20)
    os.truncate(image, at)
    try:
        found, _ = scrub(volume, expect=4)
        assert judged(found) == {"large": ("content", "secondary")}
        assert "cannot be read: Input/output error" in found[0]["detail"]
    finally:
        with open(image, "r+b") as raw:
            raw.seek(at)
            raw.write(content[at:])
    assert image.stat().st_size == end
    scrub(volume, expect=0)
