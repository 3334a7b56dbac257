"""The tests' own fault layer: without rules it is a directory, with rules it fails just as they say."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tree
from support.faultfs import CHANGING, FaultLayer, Rule
from support.machine import in_child, is_mounted, needs_root, outcome, run, tool

pytestmark = [needs_root, pytest.mark.deadline(60)]


@pytest.fixture
def layer(workspace: Path) -> Iterator[FaultLayer]:
    with FaultLayer(workspace / "beneath", workspace / "leg") as started:
        yield started


def acl(*, default: bool) -> tuple[str, bytes]:
    """An ACL with a named user, as the kernel wants it (linux/posix_acl_xattr.h)."""
    no_one = 0xFFFFFFFF
    entries = [(0x01, 7, no_one), (0x02, 5, 4321), (0x04, 5, no_one), (0x10, 7, no_one), (0x20, 0, no_one)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    return f"system.posix_acl_{'default' if default else 'access'}", value


def furnish(root: Path) -> None:
    """Something of everything that a leg must be able to hold."""
    (root / "dir/deep").mkdir(parents=True)
    (root / "dir/file").write_bytes(os.urandom(300_000))
    os.link(root / "dir/file", root / "dir/deep/twin")
    (root / "link").symlink_to("nowhere")
    os.chown(root / "link", 1234, 2345, follow_symlinks=False)
    os.mknod(root / "fifo", 0o010600)
    os.mknod(root / "device", 0o020600, os.makedev(1, 3))
    (root / os.fsdecode(b"not \xff utf-8")).write_text("x")
    with open(root / "sparse", "wb") as file:
        file.truncate(50 << 20)
    (root / "set-id").write_text("x")
    os.chown(root / "set-id", 1234, 2345)
    (root / "set-id").chmod(0o6755)
    os.setxattr(root / "dir/file", "user.colour", b"red")
    os.setxattr(root / "dir", "trusted.note", b"for root")
    os.setxattr(root / "dir/file", *acl(default=False))
    os.setxattr(root / "dir", *acl(default=True))
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, ns=(10**18 + 1, 10**18 + 123456789), follow_symlinks=False)


def test_without_rules_it_is_the_directory_beneath(layer: FaultLayer, workspace: Path) -> None:
    plain = workspace / "plain"
    plain.mkdir()
    furnish(plain)
    run(tool("rsync", "rsync"), "-aHAXS", f"{plain}/", f"{layer.path}/")
    tree.assert_same(plain, layer.directory, ignore=frozenset({"dir_mtime"}))
    tree.assert_same(layer.directory, layer.path)
    for flags in (0, 1, 2):
        (layer.path / f"one{flags}").write_text("1")
        (layer.path / f"two{flags}").write_text("2")
        script = f"import ctypes; l = ctypes.CDLL(None, use_errno=True); print(l.renameat2(-100, \
b'one{flags}', -100, b'two{flags}', {flags}), ctypes.get_errno())"
        done = run("python3", "-c", script, cwd=layer.path).stdout.strip()
        assert done == ("-1 17" if flags == 1 else "0 0")
    assert (layer.path / "one2").read_text() == "2"


def test_an_unlinked_file_stays_usable_and_others_get_what_they_make(layer: FaultLayer) -> None:
    layer.path.chmod(0o777)
    with open(layer.path / "file", "w+b") as file:
        (layer.path / "file").unlink()
        file.write(b"still there")
        file.flush()
        os.fchmod(file.fileno(), 0o600)
        assert os.pread(file.fileno(), 100, 0) == b"still there"

    def make() -> None:
        (layer.path / "theirs").mkdir()
        (layer.path / "theirs/file").write_text("x")

    in_child(make, uid=12345, gid=12346)
    status = (layer.directory / "theirs/file").stat()
    assert (status.st_uid, status.st_gid) == (12345, 12346)


def test_errors_come_by_operation_and_path_after_so_many_and_so_often(layer: FaultLayer) -> None:
    rule = layer.fail("mkdir", errno="EROFS", path="a/*", after=1, times=2)
    (layer.path / "a").mkdir()
    seen = [outcome(os.mkdir, layer.path / "a" / str(number))[0] for number in range(5)]
    assert seen == ["ok", "EROFS", "EROFS", "ok", "ok"]
    assert sorted(os.listdir(layer.directory / "a")) == ["0", "3", "4"]
    assert rule.hits == 2
    layer.fail(*CHANGING, errno="EIO")
    assert outcome((layer.path / "a/0").rmdir)[0] == "EIO"
    assert outcome(os.listdir, layer.path / "a")[0] == "ok"
    layer.clear()
    (layer.path / "a/0").rmdir()


def test_a_rule_that_is_misspelt_is_refused(layer: FaultLayer) -> None:
    with pytest.raises(AssertionError, match="no such errno"):
        layer.fail("write", errno="EWRONG")
    with pytest.raises(AssertionError, match="unknown request"):
        layer.ask(do="nothing")


def test_a_hang_lasts_until_it_is_released_and_others_are_answered(layer: FaultLayer) -> None:
    (layer.path / "elsewhere").mkdir()  # the kernel locks the directory in which somebody makes a name
    rule = layer.hang("mkdir", path="slow")
    thread = threading.Thread(target=(layer.path / "slow").mkdir)
    thread.start()
    rule.wait_until_hit()
    assert rule.waiting == 1
    (layer.path / "elsewhere/quick").mkdir()
    assert not (layer.directory / "slow").exists()
    rule.remove()
    thread.join(30)
    assert (layer.directory / "slow").is_dir()


def test_a_delay_delays(layer: FaultLayer) -> None:
    layer.add(Rule(("mkdir",), delay_seconds=0.5))
    begin = time.monotonic()
    (layer.path / "dir").mkdir()
    assert time.monotonic() - begin >= 0.5


def test_writes_come_short_and_room_ends(layer: FaultLayer) -> None:
    fd = os.open(layer.path / "file", os.O_RDWR | os.O_CREAT)
    try:
        short = layer.add(Rule(("write",), short_bytes=1000))
        assert os.pwrite(fd, b"x" * 3000, 0) == 1000
        short.remove()
        layer.add(Rule(("write",), room_bytes=5000))
        assert os.pwrite(fd, b"y" * 4000, 0) == 4000
        assert os.pwrite(fd, b"z" * 4000, 4000) == 1000
        assert outcome(os.pwrite, fd, b"z", 5000)[0] == "ENOSPC"
    finally:
        os.close(fd)
    assert (layer.directory / "file").read_bytes() == b"y" * 4000 + b"z" * 1000


def test_fsync_lies_or_fails(layer: FaultLayer) -> None:
    fd = os.open(layer.path / "file", os.O_RDWR | os.O_CREAT)
    try:
        lie = layer.add(Rule(("fsync", "write"), is_lying=True))
        assert os.pwrite(fd, b"gone", 0) == 4
        os.fsync(fd)
        assert lie.hits == 2
        lie.remove()
        layer.fail("fsync", errno="EIO", times=1)
        assert outcome(os.fsync, fd)[0] == "EIO"
        assert outcome(os.fsync, fd)[0] == "ok"
    finally:
        os.close(fd)
    assert (layer.directory / "file").read_bytes() == b""


def test_it_falls_off_and_comes_back(layer: FaultLayer) -> None:
    (layer.path / "file").write_text("kept")
    fd = os.open(layer.path / "file", os.O_RDONLY)
    try:
        layer.kill()
        assert outcome(os.fstat, fd)[0] in ("ENOTCONN", "ECONNABORTED")
    finally:
        os.close(fd)
    assert not is_mounted(layer.path)
    assert os.listdir(layer.path) == []
    layer.start()
    assert (layer.path / "file").read_text() == "kept"


def test_frozen_it_answers_nothing_and_can_still_be_killed(layer: FaultLayer) -> None:
    layer.freeze()
    thread = threading.Thread(target=outcome, args=(os.mkdir, layer.path / "dir"))
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    layer.kill()
    thread.join(30)
    assert not thread.is_alive()
