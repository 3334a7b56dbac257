"""Extended attributes of every name space and size."""

from __future__ import annotations

import os
from pathlib import Path

from support.machine import as_other, needs_root, outcome, run, tool
from support.parity import parity

CREATE, REPLACE = os.XATTR_CREATE, os.XATTR_REPLACE


@parity
def test_user_attributes_are_set_read_listed_and_removed(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    seen: list[object] = []
    for name in ("file", "dir"):
        path = root / name
        os.setxattr(path, "user.text", b"value")
        os.setxattr(path, "user.empty", b"")
        os.setxattr(path, "user.binary", bytes(range(256)))
        os.setxattr(path, "user.text", b"changed")
        seen += [sorted(os.listxattr(path)), os.getxattr(path, "user.text"), os.getxattr(path, "user.empty")]
        os.removexattr(path, "user.binary")
        seen += [sorted(os.listxattr(path)), outcome(os.getxattr, path, "user.binary")]
    return seen


@parity
def test_xattr_create_and_replace(root: Path) -> object:
    path = root / "file"
    path.touch()
    return [
        outcome(os.setxattr, path, "user.a", b"1", REPLACE),
        outcome(os.setxattr, path, "user.a", b"2", CREATE),
        outcome(os.setxattr, path, "user.a", b"3", CREATE),
        outcome(os.setxattr, path, "user.a", b"4", REPLACE),
        outcome(os.setxattr, path, "user.b", b"5", REPLACE),
        os.getxattr(path, "user.a"),
    ]


@parity
def test_xattr_errors(root: Path) -> object:
    path = root / "file"
    path.touch()
    (root / "link").symlink_to("file")
    return [
        outcome(os.getxattr, path, "user.none"),
        outcome(os.removexattr, path, "user.none"),
        outcome(os.getxattr, root / "missing", "user.a"),
        outcome(os.listxattr, root / "missing"),
        outcome(os.setxattr, path, "user.", b"x"),
        outcome(os.setxattr, path, "nonamespace", b"x"),
        outcome(os.setxattr, path, "unknown.space", b"x"),
        outcome(os.setxattr, path, "system.unknown", b"x"),
        outcome(os.setxattr, path, "user." + "n" * 251, b"x"),
        outcome(os.setxattr, path, "user." + "n" * 250, b"x"),
        outcome(os.setxattr, path, "", b"x"),
        outcome(os.setxattr, path, "user.toolarge", bytes(65_537)),
        outcome(os.setxattr, root / "link", "user.onlink", b"x", follow_symlinks=False),
        sorted(os.listxattr(path)),
    ]


@parity
def test_xattr_sizes_up_to_what_the_file_system_holds(root: Path) -> object:
    seen = []
    for size in (1, 100, 1000, 3000, 3900, 4096, 5000, 40_000, 65_535, 65_536):
        path = root / f"file{size}"
        path.touch()
        value = bytes([size % 251]) * size
        answer = outcome(os.setxattr, path, "user.big", value)
        seen.append((size, answer, answer[0] != "ok" or os.getxattr(path, "user.big") == value))
    return seen


@parity
def test_many_attributes_until_the_file_system_refuses(root: Path) -> object:
    path = root / "file"
    path.touch()
    answers = [outcome(os.setxattr, path, f"user.attribute{n:04}", b"value" * 4)[0] for n in range(150)]
    return answers, sorted(os.listxattr(path))


@parity
def test_a_buffer_too_small_is_erange(root: Path) -> object:
    """os.getxattr hides it by asking again; getfattr and tar ask as C does."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    path = os.fsencode(root / "file")
    (root / "file").touch()
    os.setxattr(path, "user.a", b"0123456789")
    buffer = ctypes.create_string_buffer(100)
    seen = []
    for size in (0, 5, 9, 10, 100):
        got = libc.getxattr(path, b"user.a", buffer, size)
        seen.append(
            (
                size,
                got,
                ctypes.get_errno() if got < 0 else 0,
                buffer.raw[:10] if size > 0 and got > 0 else b"",
            )
        )
        got = libc.listxattr(path, buffer, size)
        seen.append((size, got, ctypes.get_errno() if got < 0 else 0))
    return seen


@needs_root
@parity
def test_trusted_and_security_attributes_as_root(root: Path) -> object:
    seen: list[object] = []
    (root / "file").touch()
    (root / "dir").mkdir()
    for name in ("file", "dir"):
        for key in ("trusted.md5sum", "trusted.overlay.opaque", "security.test"):
            seen.append(outcome(os.setxattr, root / name, key, b"y"))
        seen.append(sorted(os.listxattr(root / name)))
    # Not listxattr: btrfs shows everybody the names of trusted attributes.
    seen.append(as_other(lambda: outcome(os.getxattr, root / "file", "trusted.md5sum")))
    seen.append(as_other(lambda: outcome(os.setxattr, root / "file", "trusted.x", b"n")))
    return seen


@needs_root
@parity
def test_attributes_of_symlinks_and_special_files_as_root(root: Path) -> object:
    (root / "link").symlink_to("nowhere")
    os.mkfifo(root / "fifo")
    seen: list[object] = []
    for name in ("link", "fifo"):
        for key in ("trusted.note", "user.note", "security.note"):
            seen.append(outcome(os.setxattr, root / name, key, b"v", follow_symlinks=False))
        seen.append(sorted(os.listxattr(root / name, follow_symlinks=False)))
        seen.append(outcome(os.removexattr, root / name, "security.note", follow_symlinks=False))
    return seen


@needs_root
@parity
def test_file_capabilities_survive_and_are_cleared_by_a_write(root: Path) -> object:
    # VFS_CAP_REVISION_2, cap_net_raw: what ping carries on many distributions.
    capability = bytes.fromhex("01000002" + "00200000" + "00000000" + "00000000" + "00000000")
    for name in ("kept", "written", "chowned"):
        (root / name).write_bytes(b"program")
        os.setxattr(root / name, "security.capability", capability)
        (root / name).chmod(0o777)
    before = os.getxattr(root / "kept", "security.capability")
    as_other(lambda: (root / "written").write_bytes(b"PROGRAM"))
    os.chown(root / "chowned", 1, 1)
    return before, [
        outcome(os.getxattr, root / name, "security.capability") for name in ("written", "chowned")
    ]


@needs_root
@parity
def test_user_attributes_need_the_file_s_permissions(root: Path) -> object:
    (root / "file").touch()
    os.setxattr(root / "file", "user.a", b"1")
    seen = []
    for mode in (0o600, 0o604, 0o602, 0o606):
        (root / "file").chmod(mode)
        seen.append(
            as_other(
                lambda: (
                    outcome(os.getxattr, root / "file", "user.a"),
                    outcome(os.setxattr, root / "file", "user.a", b"1"),
                )
            )
        )
    return seen


@parity
def test_attributes_through_descriptors_and_after_rename(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o600)
    os.setxattr(fd, "user.a", b"before")
    os.rename(root / "file", root / "renamed")
    os.setxattr(fd, "user.b", b"after")
    os.unlink(root / "renamed")
    seen = (
        sorted(os.listxattr(fd)),
        os.getxattr(fd, "user.a"),
        outcome(os.setxattr, fd, "user.c", b"unlinked"),
    )
    os.close(fd)
    return seen


@parity
def test_setfattr_and_cp_carry_attributes(root: Path) -> object:
    (root / "file").write_text("x")
    run(tool("setfattr", "attr"), "-n", "user.comment", "-v", "kept by cp", root / "file")
    run("cp", "--preserve=all", root / "file", root / "copy")
    dump = run("getfattr", "-d", "-m", "-", "copy", cwd=root).stdout
    return dump
