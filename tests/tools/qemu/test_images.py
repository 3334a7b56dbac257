"""Images: made without overwriting, converted and compared, and whose word for their format is believed."""

from __future__ import annotations

import json
import os
import random

import pytest

from support.machine import run, tool


def test_create_makes_an_image_and_refuses_to_overwrite(machines):
    path = machines.base / "disk.qcow2"
    machines.qemu("create", path, "10G")
    before = path.read_bytes()
    info = json.loads(run(tool("qemu-img", "qemu-utils"), "info", "--output=json", path).stdout)
    assert (info["format"], info["virtual-size"]) == ("qcow2", 10 << 30)
    assert "exists already" in machines.refusal("create", path, "1G")
    assert path.read_bytes() == before


def test_create_with_a_backing_image_keeps_only_what_differs(machines):
    base = machines.base / "base.img"
    base.write_bytes(os.urandom(3 << 20))
    machines.qemu("create", machines.base / "try.qcow2", "--backing", base)
    found = json.loads(machines.qemu("create", machines.base / "more.vmdk", "1G", "--json").stdout)
    assert found["format"] == "vmdk"
    run(tool("qemu-img", "qemu-utils"), "compare", base, machines.base / "try.qcow2")
    assert (machines.base / "try.qcow2").stat().st_size < base.stat().st_size


def test_a_failed_create_leaves_no_file(machines):
    path = machines.base / "disk.qcow2"
    done = machines.qemu("create", path, "ten", check=False)
    assert done.returncode == 1
    assert "Invalid image size" in done.stderr
    assert not path.exists()


@pytest.mark.parametrize("name", ["disk.img", "disk.qcow2", "disk.vmdk", "disk.vdi", "disk.vhd", "disk.vhdx"])
def test_convert_there_and_back_is_equal_and_sparse(machines, name):
    source = machines.base / "source.img"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(20 << 20)
        file.write(random.Random(1).randbytes(1 << 20))
    made, back = machines.base / name, machines.base / "back.img"
    assert json.loads(machines.qemu("convert", source, made, "--json").stdout)["is_equal"] is True
    machines.qemu("convert", made, back)
    # VHD counts in cylinders, so a disk in one may be a little larger.
    assert back.read_bytes()[: 64 << 20] == source.read_bytes()
    assert not back.read_bytes()[64 << 20 :].strip(b"\0")
    for path in (made, back):
        assert path.stat().st_blocks * 512 < 8 << 20, f"{path.name} is not sparse"
    assert not [path.name for path in machines.base.iterdir() if path.name.startswith(".")]


def test_convert_refuses_to_overwrite_unless_forced_and_never_its_source(machines, disk):
    target = machines.base / "disk.img"
    target.write_bytes(b"precious")
    assert "exists already" in machines.refusal("convert", disk, target)
    assert "is " in machines.refusal("convert", disk, disk, "--force")
    assert target.read_bytes() == b"precious"
    machines.qemu("convert", disk, target, "--force")
    assert target.stat().st_size == 64 << 20


def test_a_convert_that_fails_leaves_the_old_file(machines):
    source = machines.base / "broken.qcow2"
    machines.qemu("create", source, "1G")
    with source.open("r+b") as file:
        file.seek(40)
        file.write(b"\xff" * 8)  # the place of its first table
    target = machines.base / "disk.img"
    target.write_bytes(b"precious")
    assert machines.qemu("convert", source, target, "--force", check=False).returncode == 1
    assert sorted(path.name for path in machines.base.iterdir()) == ["broken.qcow2", "disk.img"]
    assert target.read_bytes() == b"precious"


def test_a_raw_image_whose_guest_wrote_a_qcow2_header_is_not_believed(machines):
    secret = machines.base / "secret"
    secret.write_bytes(b"the host's own" + bytes(4096))
    image = machines.base / "guest.img"
    qemu_img = tool("qemu-img", "qemu-utils")
    run(qemu_img, "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", image)
    for words in (("run", image, "--detach"), ("convert", image, machines.base / "out.img")):
        said = machines.refusal(*words)
        assert "begins like a qcow2 image" in said
    assert not (machines.base / "out.img").exists()
    machines.qemu("convert", image, machines.base / "out.img", "--source-format", "raw")
    assert b"the host's own" not in (machines.base / "out.img").read_bytes()


def test_an_image_that_is_not_what_its_name_says_is_refused(machines):
    image = machines.base / "disk.qcow2"
    image.write_bytes(bytes(1 << 20))
    assert "is no qcow2" in machines.refusal("run", image, "--detach")
