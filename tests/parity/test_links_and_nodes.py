"""Hard links, symbolic links, fifos, sockets and devices."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

from support.machine import as_other, needs_root, outcome
from support.parity import look, parity


@parity
def test_hard_links_share_everything(root: Path) -> object:
    (root / "one").write_text("shared")
    (root / "dir").mkdir()
    os.link(root / "one", root / "two")
    os.link(root / "two", root / "dir/three")
    (root / "two").chmod(0o600)
    with open(root / "dir/three", "a") as file:
        file.write(" by three names")
    inodes = {path.stat().st_ino for path in (root / "one", root / "two", root / "dir/three")}
    return len(inodes), (root / "one").read_text(), look(root / "one"), look(root / "dir/three")


@parity
def test_a_hard_link_outlives_the_first_name(root: Path) -> object:
    (root / "first").write_text("content")
    os.link(root / "first", root / "second")
    os.unlink(root / "first")
    (root / "first").write_text("another inode")
    with open(root / "second", "a") as file:
        file.write(" grown")
    return (root / "second").read_text(), look(root / "second"), (root / "first").read_text()


@parity
def test_link_errors(root: Path) -> object:
    (root / "file").touch()
    (root / "other").touch()
    (root / "dir").mkdir()
    (root / "link").symlink_to("file")
    pairs = (
        ("missing", "new"),
        ("dir", "new"),
        ("file", "other"),
        ("file", "dir"),
        ("file", "missing/new"),
        ("file", "file/x"),
        ("file", "y" * 256),
    )
    return [outcome(os.link, root / old, root / new) for old, new in pairs]


@parity
def test_a_hard_link_to_a_symlink_and_through_it(root: Path) -> object:
    (root / "file").write_text("x")
    (root / "link").symlink_to("file")
    os.link(root / "link", root / "link2", follow_symlinks=False)
    fd = os.open(root, os.O_RDONLY)
    # With a directory descriptor, os.link says AT_SYMLINK_FOLLOW: the target gets the new name.
    through = outcome(os.link, "link", "followed", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    return os.readlink(root / "link2"), look(root / "link2"), through, look(root / "followed")


@parity
def test_a_thousand_links_to_one_file(root: Path) -> object:
    (root / "file").write_text("many names")
    for number in range(1000):
        os.link(root / "file", root / f"link{number}")
    before = look(root / "file")
    for number in range(0, 1000, 2):
        os.unlink(root / f"link{number}")
    return before, look(root / "link1")


@parity
def test_symlinks_of_every_length_up_to_the_limit(root: Path) -> object:
    seen = []
    for length in (1, 59, 60, 255, 256, 1023, 4094, 4095, 4096):
        target = "t" * length
        made = outcome(os.symlink, target, root / f"to{length}")
        if made[0] == "ok":
            seen.append((os.readlink(root / f"to{length}") == target, look(root / f"to{length}")))
        seen.append(made)
    return seen


@parity
def test_symlink_targets_are_kept_as_they_were_written(root: Path) -> object:
    targets = (
        b"/absolute/path",
        b"../../up",
        b"a//b/./c/",
        b".",
        b"/",
        b"not \xff utf-8 \xe4",
        b"new\nline",
        b" ",
    )
    for number, target in enumerate(targets):
        os.symlink(target, os.fsencode(root / f"link{number}"))
    return [os.readlink(os.fsencode(path)) for path in sorted(root.iterdir())]


@parity
def test_symlink_errors_and_replacement(root: Path) -> object:
    (root / "file").write_text("content")
    seen = [
        outcome(os.symlink, "x", root / "file"),
        outcome(os.symlink, "", root / "empty"),
        outcome(os.symlink, "x", root / "missing/link"),
        outcome(os.readlink, root / "file"),
        outcome(os.readlink, root),
        outcome(os.readlink, root / "missing"),
    ]
    os.symlink("file", root / "link")
    seen += [(root / "link").read_text(), outcome(os.symlink, "other", root / "link")]
    os.symlink("other", root / "link.new")
    os.rename(root / "link.new", root / "link")
    return seen, os.readlink(root / "link"), outcome((root / "link").read_text)


@parity
def test_symlinks_inside_the_tree_are_followed(root: Path) -> object:
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/sub/file").write_text("found")
    (root / "to-dir").symlink_to("dir/sub")
    (root / "up").symlink_to("dir/../to-dir/file")
    (root / "to-dir/new").write_text("made through the link")
    return (
        (root / "up").read_text(),
        sorted(os.listdir(root / "dir/sub")),
        look(root / "to-dir", follow_symlinks=True),
    )


@parity
def test_a_symlink_out_of_the_volume_is_followed_by_the_caller_only(root: Path) -> object:
    (root / "etc").symlink_to("/etc")
    (root / "passwd").symlink_to("/etc/passwd")
    same = (root / "passwd").read_bytes() == Path("/etc/passwd").read_bytes()
    os.unlink(root / "passwd")
    return same, Path("/etc/passwd").exists(), look(root / "etc")


@parity
def test_fifos_carry_data(root: Path) -> object:
    os.mkfifo(root / "fifo", 0o640)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((root / "fifo").read_bytes()))
    reader.start()
    (root / "fifo").write_bytes(b"through the pipe")
    reader.join(20)
    return received, look(root / "fifo"), outcome(os.mkfifo, root / "fifo")


@parity
def test_sockets_answer(root: Path) -> object:
    # A socket's path holds 107 bytes; the directory descriptor makes it short.
    base = os.open(root, os.O_RDONLY)
    name = f"/proc/self/fd/{base}/socket"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(name)
        server.listen()
        client.connect(name)
        peer, _ = server.accept()
        with peer:
            client.sendall(b"hello")
            seen = peer.recv(100)
    answer = outcome(os.open, root / "socket", os.O_RDONLY)
    os.close(base)
    return seen, answer, look(root / "socket")


@parity
def test_mknod_of_plain_files_fifos_and_sockets(root: Path) -> object:
    for kind in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
        os.mknod(root / f"node{kind:o}", kind | 0o751)
    again = outcome(os.mknod, root / f"node{stat.S_IFREG:o}", stat.S_IFREG | 0o600)
    directory = outcome(os.mknod, root / "dir", stat.S_IFDIR | 0o700)
    return [look(path) for path in sorted(root.iterdir())], again, directory


@needs_root
@parity
def test_mknod_of_devices_as_root(root: Path) -> object:
    devices = (
        (stat.S_IFCHR, 1, 3),
        (stat.S_IFCHR, 0xABC, 0xDEF12),
        (stat.S_IFBLK, 7, 200),
        (stat.S_IFCHR, 0, 0),
    )
    for number, (kind, major, minor) in enumerate(devices):
        os.mknod(root / f"device{number}", kind | 0o620, os.makedev(major, minor))
    os.chown(root / "device0", 12, 34)
    os.rename(root / "device1", root / "renamed")
    os.link(root / "device2", root / "linked")
    return [look(path) for path in sorted(root.iterdir())]


@needs_root
@parity
def test_mknod_of_devices_is_refused_to_others(root: Path) -> object:
    def as_user() -> object:
        return [
            outcome(os.mknod, root / "char", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
            outcome(os.mknod, root / "block", stat.S_IFBLK | 0o600, os.makedev(7, 0)),
            outcome(os.mkfifo, root / "fifo"),
            outcome(os.mknod, root / "socket", stat.S_IFSOCK | 0o600),
            outcome(os.mknod, root / "file", stat.S_IFREG | 0o600),
        ]

    return as_other(as_user)
