"""POSIX ACLs, their inheritance, and what they allow."""

from __future__ import annotations

import os
from pathlib import Path

from support.machine import OTHER_UID, as_other, needs_root, outcome, run, tool
from support.parity import look, parity


def setfacl(path: Path, *words: str) -> None:
    run(tool("setfacl", "acl"), *words, path)


def getfacl(root: Path, name: str) -> str:
    return run(tool("getfacl", "acl"), "--numeric", name, cwd=root).stdout


@parity
def test_setfacl_and_getfacl(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    setfacl(root / "file", "-m", f"u:{OTHER_UID}:rw,g:777:r--,m::rwx")
    setfacl(root / "dir", "-m", f"u:{OTHER_UID}:rwx,d:u:{OTHER_UID}:rx,d:g:777:---")
    return getfacl(root, "file"), getfacl(root, "dir"), look(root / "file"), look(root / "dir")


@parity
def test_chmod_changes_the_mask_and_setfacl_changes_the_mode(root: Path) -> object:
    (root / "file").touch()
    setfacl(root / "file", "-m", "u:777:rwx")
    seen: list[object] = [getfacl(root, "file"), look(root / "file")]
    os.chmod(root / "file", 0o640)
    seen += [getfacl(root, "file"), look(root / "file")]
    setfacl(root / "file", "-m", "u::rwx,o::x")
    seen += [getfacl(root, "file"), look(root / "file")]
    setfacl(root / "file", "-b")
    return [*seen, getfacl(root, "file"), look(root / "file"), os.listxattr(root / "file")]


@parity
def test_an_acl_that_says_no_more_than_the_mode_is_not_kept(root: Path) -> object:
    (root / "file").touch()
    setfacl(root / "file", "-m", "u::rwx,g::r-x,o::---")
    return look(root / "file"), os.listxattr(root / "file")


@parity
def test_default_acls_are_inherited(root: Path) -> object:
    (root / "dir").mkdir()
    setfacl(root / "dir", "-d", "-m", "u::rwx,g::rwx,o::r-x,u:777:rwx,g:888:r-x")
    for mask in (0o022, 0o077):
        os.umask(mask)
        base = root / "dir" / f"mask{mask:o}"
        os.mkdir(base)
        os.close(os.open(base / "file", os.O_CREAT | os.O_WRONLY, 0o666))
        os.close(os.open(base / "private", os.O_CREAT | os.O_WRONLY, 0o600))
        os.mkdir(base / "sub", 0o750)
        os.mkfifo(base / "fifo", 0o666)
        os.mknod(base / "node", 0o666)
        os.symlink("file", base / "link")
    os.umask(0o022)
    found = sorted(path for path in (root / "dir").rglob("*") if not path.is_symlink())
    return [
        (str(path.relative_to(root)), look(path), getfacl(root, str(path.relative_to(root))))
        for path in found
    ]


@parity
def test_without_a_default_acl_the_umask_counts(root: Path) -> object:
    seen = []
    for mask in (0o000, 0o027, 0o077):
        os.umask(mask)
        os.close(os.open(root / f"file{mask:o}", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(root / f"dir{mask:o}", 0o777)
        seen += [look(root / f"file{mask:o}"), look(root / f"dir{mask:o}")]
    return seen


@needs_root
@parity
def test_acls_decide_access(root: Path) -> object:
    for name in ("granted", "denied", "masked"):
        (root / name).write_text("content")
        (root / name).chmod(0o600)
    setfacl(root / "granted", "-m", f"u:{OTHER_UID}:rw")
    (root / "denied").chmod(0o644)
    setfacl(root / "denied", "-m", f"u:{OTHER_UID}:---")
    setfacl(root / "masked", "-m", f"u:{OTHER_UID}:rw,m::---")
    (root / "dir").mkdir(mode=0o700)
    setfacl(root / "dir", "-m", f"u:{OTHER_UID}:rwx")

    def try_all() -> object:
        return [
            outcome((root / "granted").read_text),
            outcome((root / "granted").write_text, "changed"),
            outcome((root / "denied").read_text),
            outcome((root / "masked").read_text),
            outcome((root / "dir/new").touch),
            outcome(os.listdir, root / "dir"),
        ]

    return as_other(try_all)


@needs_root
@parity
def test_only_the_owner_changes_an_acl(root: Path) -> object:
    (root / "file").touch()
    (root / "file").chmod(0o666)
    acl = bytes.fromhex(
        "02000000"
        + "01000700ffffffff"
        + "02000700e7030000"
        + "04000500ffffffff"
        + "10000700ffffffff"
        + "20000500ffffffff"
    )
    refused = as_other(lambda: outcome(os.setxattr, root / "file", "system.posix_acl_access", acl))
    done = outcome(os.setxattr, root / "file", "system.posix_acl_access", acl)
    broken = outcome(os.setxattr, root / "file", "system.posix_acl_access", acl[:-3])
    default_of_file = outcome(os.setxattr, root / "file", "system.posix_acl_default", acl)
    return refused, done, broken, default_of_file, look(root / "file")


@needs_root
@parity
def test_setgid_is_cleared_by_an_acl_of_somebody_outside_the_group(root: Path) -> object:
    (root / "file").touch()
    os.chown(root / "file", OTHER_UID, 777)
    (root / "file").chmod(0o2775)
    as_other(lambda: setfacl(root / "file", "-m", "u:888:rwx"))
    return look(root / "file"), getfacl(root, "file")


@parity
def test_cp_and_tar_carry_acls(root: Path) -> object:
    (root / "dir").mkdir()
    (root / "dir/file").write_text("x")
    setfacl(root / "dir", "-m", "u:777:rwx,d:u:777:r--")
    setfacl(root / "dir/file", "-m", "g:888:rw")
    run("cp", "-a", root / "dir", root / "copy")
    run("tar", "--acls", "-cf", root / "dir.tar", "-C", root, "dir")
    (root / "out").mkdir()
    run("tar", "--acls", "-xpf", root / "dir.tar", "-C", root / "out")
    os.unlink(root / "dir.tar")
    return [getfacl(root, name) for name in ("copy", "copy/file", "out/dir", "out/dir/file")]
