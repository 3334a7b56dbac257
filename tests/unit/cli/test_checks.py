"""What doctor finds, and the command that mends it."""

from __future__ import annotations

import pytest

from support.machine import needs_root
from twinfs.cli import checks
from twinfs.cli.checks import Verdict


@pytest.mark.parametrize(
    ("release", "verdict"),
    [
        ("6.18.44-fc-v595", Verdict.OK),
        ("5.15.0-91-generic", Verdict.OK),
        ("5.10.0-28-amd64", Verdict.MISSING),
        ("4.19", Verdict.MISSING),
    ],
)
def test_a_kernel_is_new_enough_from_5_15(release, verdict):
    assert checks.kernel(release).verdict is verdict


@pytest.mark.parametrize(
    ("version", "verdict"),
    [((3, 11, 0), Verdict.OK), ((4, 0), Verdict.OK), ((3, 10, 9), Verdict.MISSING)],
)
def test_python_is_new_enough_from_3_11(version, verdict):
    assert checks.python(version).verdict is verdict


def test_a_missing_fuse_device_is_mended_by_its_module(tmp_path):
    check = checks.fuse_device(tmp_path / "fuse")
    assert (check.verdict, check.fix) == (Verdict.MISSING, "modprobe fuse")


def test_a_machine_without_fusermount3_is_told_the_package(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert checks.fusermount().fix == "apt install fuse3"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("user_allow_other\n", Verdict.OK), ("#user_allow_other\n", Verdict.ADVICE), (None, Verdict.ADVICE)],
)
def test_user_allow_other_counts_only_as_a_line_of_its_own(tmp_path, text, verdict):
    if text is not None:
        (tmp_path / "fuse.conf").write_text(text)
    assert checks.user_allow_other(tmp_path / "fuse.conf").verdict is verdict


def test_a_mount_helper_is_looked_for_where_mount_looks(tmp_path):
    check = checks.mount_helper("mount.fuse.twinfs", tmp_path)
    assert check.verdict is Verdict.ADVICE
    assert check.fix.startswith("sudo ln -s /")
    (tmp_path / "mount.fuse.twinfs").symlink_to("/bin/true")
    assert checks.mount_helper("mount.fuse.twinfs", tmp_path).verdict is Verdict.OK


def test_a_program_that_only_twinfs_qemu_needs_is_advice_with_its_package(monkeypatch, tmp_path):
    check = checks.helper_program("no-such-program", "its-package")
    assert (check.verdict, check.fix) == (Verdict.ADVICE, "apt install its-package")
    (tmp_path / "program").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checks.helper_program("program", "its-package").message == str(tmp_path / "program")


def test_a_directory_that_can_be_made_is_as_good_as_one_that_is_there(tmp_path):
    assert checks.writable(tmp_path).message == "can be written"
    assert checks.writable(tmp_path / "a" / "b").message == "can be made"
    (tmp_path / "file").touch()
    assert checks.writable(tmp_path / "file" / "below").verdict is Verdict.MISSING


def test_what_cannot_be_loaded_is_missing():
    def fail():
        raise ImportError("libfuse3.so.3: cannot open shared object file")

    check = checks.attempt("pyfuse3", fail, "apt install libfuse3-3")
    assert (check.verdict, check.fix) == (Verdict.MISSING, "apt install libfuse3-3")


@needs_root
def test_this_machine_lacks_nothing_needed(cli):
    answer = cli("doctor")
    assert answer.code == 0, answer.out
    assert "ok       kernel: Linux " in answer.out
