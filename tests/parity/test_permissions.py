"""Modes, owners, and what other users may not do. Most of it needs root, to become somebody else."""

from __future__ import annotations

import os
from pathlib import Path

from support.machine import OTHER_GID, OTHER_UID, as_other, in_child, needs_root, outcome
from support.parity import look, parity

THIRD_UID = OTHER_UID + 7


@parity
def test_chmod_of_every_bit(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    seen = []
    for mode in (0, 0o777, 0o644, 0o4755, 0o2755, 0o1777, 0o6711, 0o7777, 0o2644):
        for name in ("file", "dir"):
            os.chmod(root / name, mode)
            seen.append(look(root / name))
    return seen


@parity
def test_chmod_errors_and_through_descriptors_and_links(root: Path) -> object:
    (root / "file").touch()
    (root / "link").symlink_to("file")
    os.chmod(root / "link", 0o604)
    fd = os.open(root / "file", os.O_RDONLY)
    seen = [look(root / "file"), outcome(os.fchmod, fd, 0o640), look(fd)]
    os.close(fd)
    return seen, outcome(os.chmod, root / "missing", 0o600), outcome(os.chmod, root / "file/x", 0o600)


@needs_root
@parity
def test_chown_as_root(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    (root / "link").symlink_to("file")
    os.chown(root / "file", 1, 2)
    os.chown(root / "dir", 4_000_000_000, 3)
    os.chown(root / "link", 5, 6, follow_symlinks=False)
    os.chown(root / "file", -1, 7)
    os.chown(root / "file", 8, -1)
    os.chown(root / "file", -1, -1)
    return [look(path) for path in sorted(root.iterdir())]


@needs_root
@parity
def test_chown_clears_suid_and_sgid(root: Path) -> object:
    seen = []
    for mode in (0o4755, 0o2755, 0o6777, 0o2644, 0o1755):
        (root / "file").touch()
        os.chmod(root / "file", mode)
        os.chown(root / "file", OTHER_UID, OTHER_GID)
        seen.append(look(root / "file"))
        os.chmod(root / "file", mode)
        seen.append(as_other(lambda: outcome(os.chown, root / "file", -1, OTHER_GID)))
        seen.append(look(root / "file"))
        os.unlink(root / "file")
    (root / "dir").mkdir()
    os.chmod(root / "dir", 0o6755)
    os.chown(root / "dir", OTHER_UID, OTHER_GID)
    return seen, look(root / "dir")


@needs_root
@parity
def test_a_write_by_somebody_else_clears_suid_and_sgid(root: Path) -> object:
    seen = []
    for mode in (0o4777, 0o2777, 0o6777, 0o2766):
        path = root / f"file{mode:o}"
        path.write_bytes(b"program")
        path.chmod(mode)
        before = look(path)

        def write(path: Path = path) -> None:
            fd = os.open(path, os.O_WRONLY)
            os.write(fd, b"PRO")
            os.close(fd)

        as_other(write)
        seen.append((before, look(path), path.read_bytes()))
    return seen


@needs_root
@parity
def test_a_truncate_by_somebody_else_clears_suid_and_sgid(root: Path) -> object:
    seen = []
    for mode in (0o4777, 0o2777, 0o6777):
        path = root / f"file{mode:o}"
        path.write_bytes(b"program")
        path.chmod(mode)
        as_other(lambda path=path: os.truncate(path, 3))
        seen.append(look(path))
        path.chmod(mode)
        as_other(lambda path=path: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)))
        seen.append(look(path))
    return seen


@needs_root
@parity
def test_a_write_by_root_keeps_suid(root: Path) -> object:
    (root / "file").write_bytes(b"x")
    (root / "file").chmod(0o6755)
    with open(root / "file", "ab") as file:
        file.write(b"more")
    return look(root / "file")


@needs_root
@parity
def test_files_belong_to_who_made_them(root: Path) -> object:
    def make() -> None:
        os.umask(0o027)
        (root / "file").write_text("mine")
        (root / "dir").mkdir()
        (root / "dir/below").write_text("mine too")
        (root / "link").symlink_to("file")
        os.mkfifo(root / "fifo")
        os.link(root / "file", root / "hard")
        os.mknod(root / "node")

    as_other(make)
    return [(path.name, look(path)) for path in sorted(root.rglob("*"))]


@needs_root
@parity
def test_setgid_directories_pass_their_group_on(root: Path) -> object:
    (root / "shared").mkdir()
    os.chown(root / "shared", 0, 777)
    (root / "shared").chmod(0o2777)

    def make() -> None:
        (root / "shared/file").write_text("of the group")
        (root / "shared/dir").mkdir()
        (root / "shared/dir/below").touch()
        (root / "shared/link").symlink_to("file")
        os.mkfifo(root / "shared/fifo")
        # A file that is executable by a group that its maker is not in: the bit must not survive.
        os.close(os.open(root / "shared/sgid", os.O_CREAT | os.O_WRONLY, 0o2755))
        os.chmod(root / "shared/file", 0o2755)

    as_other(make)
    (root / "shared/by-root").mkdir()
    return [(path.name, look(path)) for path in sorted(root.rglob("*"))]


@needs_root
@parity
def test_what_others_may_not_do(root: Path) -> object:
    (root / "private").mkdir(mode=0o700)
    (root / "private/file").touch()
    (root / "listable").mkdir()
    (root / "listable").chmod(0o744)
    (root / "listable/file").touch()
    (root / "passable").mkdir()
    (root / "passable").chmod(0o711)
    (root / "passable/file").write_text("readable")
    (root / "readonly").write_text("content")
    (root / "writeonly").touch()
    (root / "writeonly").chmod(0o602)

    def try_all() -> object:
        return [
            outcome(os.listdir, root / "private"),
            outcome(os.stat, root / "private/file"),
            outcome(os.listdir, root / "listable"),
            outcome(os.stat, root / "listable/file"),
            outcome(os.listdir, root / "passable"),
            outcome((root / "passable/file").read_text),
            outcome(os.open, root / "readonly", os.O_WRONLY),
            outcome(os.open, root / "readonly", os.O_RDONLY | os.O_TRUNC),
            outcome(os.open, root / "writeonly", os.O_RDONLY),
            outcome(lambda: os.close(os.open(root / "writeonly", os.O_WRONLY))),
            outcome(os.truncate, root / "readonly", 0),
            outcome(os.chmod, root / "readonly", 0o777),
            outcome(os.chown, root / "readonly", OTHER_UID, OTHER_GID),
            outcome(os.mkdir, root / "passable/new"),
            outcome(os.unlink, root / "passable/file"),
            outcome(os.rmdir, root / "private"),
            outcome(os.symlink, "x", root / "passable/link"),
            outcome(os.link, root / "readonly", root / "passable/hard"),
            outcome(os.setxattr, root / "readonly", "user.x", b"1"),
            outcome(os.getxattr, root / "writeonly", "user.x"),
            [
                os.access(root / name, how)
                for name in ("private", "readonly", "writeonly")
                for how in (1, 2, 4)
            ],
        ]

    return as_other(try_all)


@needs_root
@parity
def test_owners_have_no_more_than_their_bits_say(root: Path) -> object:
    def make_and_try() -> object:
        (root / "mine").write_text("content")
        os.chmod(root / "mine", 0)
        (root / "dir").mkdir(mode=0)
        seen = [
            outcome(os.open, root / "mine", os.O_RDONLY),
            outcome(os.listdir, root / "dir"),
            outcome(os.mkdir, root / "dir/x"),
            outcome(os.chmod, root / "mine", 0o600),
            outcome(os.chown, root / "mine", 0, -1),
            outcome(os.chown, root / "mine", -1, 0),
        ]
        os.chmod(root / "dir", 0o700)
        return seen, (root / "mine").read_text()

    return as_other(make_and_try)


@needs_root
@parity
def test_sticky_directories_protect_names_of_others(root: Path) -> object:
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "tmp/of-root").write_text("x")
    (root / "tmp/of-root").chmod(0o666)
    (root / "tmp/dir-of-root").mkdir()

    def one() -> object:
        (root / "tmp/of-one").write_text("x")
        return [
            outcome(os.unlink, root / "tmp/of-root"),
            outcome(os.rmdir, root / "tmp/dir-of-root"),
            outcome((root / "tmp/of-root").write_text, "written"),
        ]

    def two() -> object:
        return outcome(os.unlink, root / "tmp/of-one"), outcome(
            os.rename, root / "tmp/of-one", root / "tmp/mine"
        )

    return (
        as_other(one),
        in_child(two, uid=THIRD_UID, gid=THIRD_UID),
        as_other(lambda: os.unlink(root / "tmp/of-one")),
    )


@needs_root
@parity
def test_supplementary_groups_count(root: Path) -> object:
    (root / "file").write_text("for the group")
    os.chown(root / "file", 0, 888)
    (root / "file").chmod(0o640)
    (root / "dir").mkdir()
    os.chown(root / "dir", 0, 888)
    (root / "dir").chmod(0o770)

    def member() -> object:
        os.setgroups([888, 889])
        os.setresgid(OTHER_GID, OTHER_GID, OTHER_GID)
        os.setresuid(OTHER_UID, OTHER_UID, OTHER_UID)
        (root / "dir/new").touch()
        return (
            outcome((root / "file").read_text),
            outcome(os.chown, root / "dir/new", -1, 889),
            look(root / "dir/new"),
        )

    return in_child(member), as_other(lambda: outcome((root / "file").read_text))


@needs_root
@parity
def test_suid_programs_and_scripts_run_from_the_volume(root: Path) -> object:
    script = root / "script"
    script.write_text("#!/bin/sh\necho from the volume\n")
    not_yet = outcome(os.access, script, os.X_OK)
    script.chmod(0o755)
    return not_yet, as_other(lambda: os.popen(str(script)).read())
