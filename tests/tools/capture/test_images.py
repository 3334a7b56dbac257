"""What is written: holes, hashes that the usual programs check, qcow2, comparison, memory."""

from __future__ import annotations

import json
import os
import sys

import pytest

from support.failing_disk import Plan, sectors
from support.machine import run, tool
from tools.capture.conftest import capture, capture_disk, noise, refusal

MIB = 1 << 20
CHECKERS = {
    "blake3": ("b3sum", "b3sum"),
    "sha256": ("sha256sum", "coreutils"),
    "md5": ("md5sum", "coreutils"),
}


def holey(workspace):
    """Data, zeros of many lengths, and data at the end."""
    content = bytearray(noise(9 * MIB + 1000))
    for start, length in ((4096, 4096), (100_000, 3 * MIB), (5 * MIB - 10, 4116), (6 * MIB, MIB)):
        content[start : start + length] = bytes(length)
    path = workspace / "source"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("option", ["--sparse", "--no-sparse"])
def test_zeros_become_holes_unless_told_otherwise(workspace, option):
    source, image = holey(workspace), workspace / "out.img"
    assert capture_disk(source, image, option).code == 0
    assert image.read_bytes() == source.read_bytes()
    missing_bytes = image.stat().st_size - image.stat().st_blocks * 512
    assert (missing_bytes > 3 * MIB) == (option == "--sparse")


def test_zeros_replace_what_an_image_held_that_is_gone_on_with(workspace):
    """Killed after a write and before its map was saved, and the source has changed since."""
    source, image, map_path = workspace / "source", workspace / "out.img", workspace / "out.img.map"
    source.write_bytes(bytes(MIB))
    image.write_bytes(noise(MIB))
    map_path.write_text("0 ? 1\n0 0x80000 +\n0x80000 0x80000 ?\n")
    assert capture_disk(source, image, "--resume").code == 0
    assert image.read_bytes() == noise(MIB)[: MIB // 2] + bytes(MIB // 2)


def test_the_usual_programs_check_the_hashes(workspace):
    source, image = holey(workspace), workspace / "out.img"
    found = capture_disk(source, image, "--hash", ",".join(CHECKERS))
    for name, (program, package) in CHECKERS.items():
        done = run(tool(program, package), "-c", f"out.img.{name}", cwd=workspace)
        assert done.stdout == "out.img: OK\n"
        expected = run(tool(program, package), source).stdout.split()[0]
        assert found.summary["hashes"][name] == expected
    with open(image, "r+b") as file:
        file.write(b"x")
    assert run("sha256sum", "-c", "out.img.sha256", cwd=workspace, check=False).returncode == 1


@pytest.mark.parametrize("name", ["with space", "back\\slash", "new\nline"])
def test_names_with_odd_characters_are_escaped_as_the_programs_want(workspace, name):
    source, image = holey(workspace), workspace / name
    capture_disk(source, image, "--hash", "sha256,blake3")
    run("sha256sum", "--strict", "-c", f"{name}.sha256", cwd=workspace)
    run(tool("b3sum", "b3sum"), "-c", f"{name}.blake3", cwd=workspace)


def test_hashes_are_of_the_image_also_where_blocks_came_later_or_never(failing, workspace):
    disk = failing(noise(4 * MIB), Plan(sectors(5, 3000, 3001, 8000), heals_after=9))
    capture_disk(disk.path, workspace / "out.img", "--hash", "sha256,blake3", "--retries", "0")
    run("sha256sum", "-c", "out.img.sha256", cwd=workspace)
    found = capture_disk(disk.path, workspace / "out.img", "--hash", "sha256", "--resume", "--retries", "9")
    assert found.code == 0
    run("sha256sum", "-c", "out.img.sha256", cwd=workspace)


def test_an_unknown_hash_is_refused_before_anything_is_written(workspace):
    source = holey(workspace)
    done = capture("disk", source, workspace / "out.img", "--hash", "sha257", check=False)
    assert done.returncode == 2
    assert "blake3, sha256" in done.stderr
    assert not (workspace / "out.img").exists()


def test_comparing_finds_what_is_different_and_nothing_else(failing, workspace):
    disk = failing(noise(3 * MIB), Plan(sectors(10)))
    image = workspace / "out.img"
    found = capture_disk(disk.path, image, "--verify")
    assert (found.code, found.mismatches, found.summary["is_equal"]) == (1, [], True)
    with open(image, "r+b") as file:
        file.seek(2 * MIB + 1000)
        file.write(b"????" * 300)
    found = capture_disk(disk.path, image, "--resume", "--verify")
    assert found.code == 1
    assert found.mismatches == [(2 * MIB + 512, 2048)]
    assert found.summary["is_equal"] is False
    text = capture("disk", disk.path, image, "--resume", "--verify", check=False).stdout
    assert "1 area of SOURCE and DEST differ\n  offset 2097664, length 2048" in text


def test_a_sector_that_fails_only_when_compared_is_a_difference(failing, workspace):
    disk = failing(noise(2 * MIB))
    capture_disk(disk.path, workspace / "out.img")
    disk.change(Plan(sectors(77)))
    found = capture_disk(disk.path, workspace / "out.img", "--resume", "--verify")
    assert found.code == 1
    assert found.mismatches


def test_qcow2_holds_the_same_and_leaves_no_work_file(workspace):
    source, image = holey(workspace), workspace / "out.qcow2"
    found = capture_disk(source, image, "--format", "qcow2", "--hash", "sha256")
    assert found.summary["format"] == "qcow2"
    qemu_img = tool("qemu-img", "qemu-utils")
    assert json.loads(run(qemu_img, "info", "--output=json", image).stdout)["format"] == "qcow2"
    # qemu-img rounds a raw file up to sectors.
    run(qemu_img, "compare", "-f", "raw", "-F", "qcow2", source, image)
    run("sha256sum", "-c", "out.qcow2.sha256", cwd=workspace)
    assert found.summary["hashes"]["sha256"] == run("sha256sum", source).stdout.split()[0]
    assert "is finished" in refusal(source, image, "--format", "qcow2", "--resume")
    assert "exists already" in refusal(source, image, "--format", "qcow2")
    assert sorted(os.listdir(workspace)) == ["out.qcow2", "out.qcow2.map", "out.qcow2.sha256", "source"]


def test_qcow2_of_a_bad_disk_can_be_gone_on_with(failing, workspace):
    disk = failing(noise(2 * MIB), Plan(sectors(9)))
    image = workspace / "out.qcow2"
    found = capture_disk(disk.path, image, "--format", "qcow2")
    assert found.unread == [(9 * 512, 512)]
    assert "out.qcow2.raw stays" in found.errors
    disk.change(Plan())
    assert capture_disk(disk.path, image, "--format", "qcow2", "--resume").code == 0
    run("qemu-img", "convert", "-O", "raw", image, workspace / "again.raw")
    assert (workspace / "again.raw").read_bytes() == disk.content
    assert not (workspace / "out.qcow2.raw").exists()


def test_memory_stays_the_same_whatever_the_size(workspace):
    command = (
        "import re, sys; from twinfs_capture.main import run; code = run(sys.argv[1:]);"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); sys.exit(code)"
    )
    peaks_kib = []
    for size in (2 * MIB, 200 * MIB):
        source = workspace / f"source{size}"
        source.write_bytes(noise(MIB) * (size // MIB))
        words = ("disk", source, workspace / f"out{size}", "--hash", "blake3", "--json")
        done = run(sys.executable, "-c", command, *words)
        peaks_kib.append(int(done.stdout.splitlines()[-1]))
    assert peaks_kib[1] < peaks_kib[0] + 12 * 1024
    assert peaks_kib[1] < 80 * 1024


def test_a_file_can_be_read_past_the_page_cache_to_its_odd_end(workspace):
    source, image = holey(workspace), workspace / "out.img"
    assert capture_disk(source, image, "--direct", "--verify").summary["is_equal"] is True
    assert image.read_bytes() == source.read_bytes()


def test_straight_into_a_volume_it_reaches_both_legs(workspace, new_volume):
    """A volume has no fallocate: what is gone on with there is overwritten with zeros, not punched."""
    volume = new_volume("sync").init().mount_it()
    source, image = holey(workspace), volume.mount / "keys.img"
    assert capture_disk(source, image, "--hash", "sha256").code == 0
    image.with_name("keys.img.map").write_text(f"0 ? 1\n0 {source.stat().st_size} ?\n")
    with open(image, "r+b") as file:
        file.write(b"x" * MIB)
    assert capture_disk(source, image, "--resume").code == 0
    volume.assert_legs_equal()
    assert (volume.secondary / "keys.img").read_bytes() == source.read_bytes()
