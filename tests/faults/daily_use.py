"""What people do to a volume, a little of everything; each step checks that it was really done."""

from __future__ import annotations

import os
from pathlib import Path


def furnish(root: Path) -> None:
    """What is there before anything fails."""
    for name in ("docs", "photos/2024", "attic"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for number in range(12):
        (root / f"docs/file{number}").write_bytes(b"%d " % number * 500)
    (root / "photos/2024/large").write_bytes(os.urandom(1 << 20))
    os.link(root / "docs/file0", root / "docs/twin")


def use(root: Path, turn: int) -> None:
    """Change, make, move, remove, read; fails when the volume refuses anything or reads something else."""
    made = root / f"docs/made{turn}"
    made.write_bytes(b"made %d" % turn * 1000)
    assert made.read_bytes() == b"made %d" % turn * 1000
    with open(root / "docs/file1", "r+b") as file:
        file.seek(100 * turn)
        file.write(b"changed in turn %d" % turn)
        file.flush()
        os.fsync(file.fileno())
    assert (root / "docs/file1").read_bytes()[100 * turn :].startswith(b"changed in turn %d" % turn)
    (root / f"photos/{turn}").mkdir()
    os.rename(made, root / f"photos/{turn}/moved")
    os.link(root / "docs/file2", root / f"attic/link{turn}")
    (root / f"attic/symlink{turn}").symlink_to("anywhere")
    (root / "docs/file3").chmod(0o600 + turn % 8)
    os.setxattr(root / "docs/file4", "user.turn", b"%d" % turn)
    with open(root / "docs/file5", "ab") as file:
        file.write(b"line of turn %d\n" % turn)
    os.truncate(root / "docs/file6", 10 * turn)
    (root / f"attic/gone{turn}").write_bytes(b"x" * 100)
    (root / f"attic/gone{turn}").unlink()
    replaced = root / "docs/replaced.tmp"
    replaced.write_bytes(b"version %d" % turn)
    replaced.rename(root / "docs/replaced")
    assert (root / "docs/replaced").read_bytes() == b"version %d" % turn
    assert f"made{turn}" not in os.listdir(root / "docs")
