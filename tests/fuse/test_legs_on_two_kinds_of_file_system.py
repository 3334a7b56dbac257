"""ACLs on XFS, which lists them to root a second time as `trusted.SGI_ACL_*`, beside a leg that does not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.disks import Disk
from support.machine import needs_root, tool
from support.volume import Volume

pytestmark = needs_root


@pytest.fixture(params=[("ext4", "xfs"), ("xfs", "ext4")], ids=" and ".join)
def legs(request: pytest.FixtureRequest, workspace: Path) -> Iterator[tuple[Path, Path]]:
    disks = [Disk(workspace / f"disk-{kind}", kind, 1 << 30).put_in() for kind in request.param]
    for disk in disks:
        (disk.path / "leg").mkdir()
    yield disks[0].path / "leg", disks[1].path / "leg"
    for disk in disks:
        disk.take_out()


def facl(path: Path, *words: str) -> None:
    subprocess.run([tool("setfacl", "acl"), *words, path], check=True)


def acls(path: Path) -> str:
    done = subprocess.run(
        [tool("getfacl", "acl"), "--numeric", "--recursive", "."],
        cwd=path,
        check=True,
        capture_output=True,
        text=True,
    )
    return "\n".join(sorted(each for each in done.stdout.split("\n\n") if "# file: .twinfs" not in each))


def fill(path: Path) -> None:
    (path / "inherits").mkdir()
    facl(path / "inherits", "-d", "-m", "u:1000:rwx")
    (path / "inherits/file").write_text("inherited")
    (path / "secret").write_text("secret")
    (path / "secret").chmod(0o600)
    facl(path / "secret", "-m", "u:1000:rw")


@pytest.mark.parametrize("mode", ("sync", "batched"))
def test_acls_are_the_same_on_both(legs: tuple[Path, Path], new_volume, mode: str) -> None:
    volume: Volume = new_volume(mode, legs=legs).init().mount_it()
    fill(volume.mount)
    volume.sync()
    assert "user:1000:rw-" in acls(volume.secondary)
    assert acls(volume.primary) == acls(volume.secondary)
    assert volume.twinfs("scrub", volume.name).returncode == 0
    volume.twinfs("rebuild", volume.name)
    assert acls(volume.primary) == acls(volume.secondary)
    facl(volume.mount / "secret", "-b")
    volume.sync()
    assert acls(volume.primary) == acls(volume.secondary)
    assert acls(volume.secondary).count("user:1000:rw-") == 0
    volume.umount()


def test_adoption_leaves_acls_alone(legs: tuple[Path, Path], new_volume) -> None:
    volume: Volume = new_volume("sync", legs=legs)
    fill(volume.primary)
    fill(volume.secondary)
    volume.init("--adopt").mount_it()
    volume.sync()
    assert "user:1000:rw-" in acls(volume.secondary)
    assert acls(volume.primary) == acls(volume.secondary)
