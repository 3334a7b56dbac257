"""mount(8), umount(8) and fstab lines, through the helpers in /sbin."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import is_mounted, mountpoints, needs_root, run
from support.volume import Volume, wait_until

pytestmark = needs_root

_HELPERS = (Path("/sbin/mount.fuse.twinfs"), Path("/sbin/umount.fuse.twinfs"))


@pytest.fixture
def helpers() -> Iterator[None]:
    """This checkout's helpers where mount(8) looks for them; what was there comes back."""
    program = Path(sys.executable).parent / "twinfs"
    kept = {helper: os.readlink(helper) if helper.is_symlink() else None for helper in _HELPERS}
    for helper in _HELPERS:
        assert kept[helper] or not helper.exists(), f"{helper} is a file; this test would replace it"
        helper.unlink(missing_ok=True)
        helper.symlink_to(program)
    yield
    for helper, target in kept.items():
        helper.unlink()
        if target is not None:
            helper.symlink_to(target)


def options_of(volume: Volume, *more: str) -> str:
    """Helpers run with an empty environment, so the directories must be said."""
    own = (f"config_dir={volume.base / 'config'}", f"state_dir={volume.base / 'state'}")
    return ",".join((*own, "nofail", *more))


def fstab(volume: Volume, *lines: str) -> Path:
    path = volume.base / "fstab"
    path.write_text("\n".join(lines) + "\n")
    return path


def note_pid(volume: Volume) -> None:
    volume.pid = volume.status()["pid"]


@pytest.fixture
def fstab_volume(new_volume, helpers: None) -> Volume:
    volume: Volume = new_volume("batched", interval="1h")
    # The helpers find the daemon's socket without TWINFS_RUN_DIR, so the test must look where they do.
    volume.run_dir = volume.base / "state" / "run"
    return volume


@pytest.mark.parametrize("first_field", ("name", "primary"))
def test_mount_a_twice_mounts_once(fstab_volume: Volume, first_field: str) -> None:
    volume = fstab_volume.init()
    source = volume.name if first_field == "name" else str(volume.primary)
    extra = ("allow_other",) if first_field == "name" else ("allow_other", f"secondary={volume.secondary}")
    table = fstab(volume, f"{source} {volume.mount} fuse.twinfs {options_of(volume, *extra)} 0 0")
    for _ in range(2):
        run("mount", "-a", "-T", table)
        assert mountpoints().count(os.fsencode(volume.mount)) == 1
    note_pid(volume)
    (volume.mount / "file").write_text("content")
    assert run("findmnt", "-n", "-o", "SOURCE,FSTYPE", volume.mount).stdout.split() == [source, "fuse.twinfs"]
    run("umount", volume.mount)
    assert not is_mounted(volume.mount)
    volume.wait_until_dead()
    assert (volume.secondary / "file").read_text() == "content"


def test_an_fstab_line_makes_the_volume_at_its_first_mount(fstab_volume: Volume) -> None:
    volume = fstab_volume
    volume.name = "primary"  # named after the directory
    options = options_of(volume, f"secondary={volume.secondary}")
    table = fstab(volume, f"{volume.primary} {volume.mount} fuse.twinfs {options} 0 0")
    run("mount", "-T", table, volume.mount)
    note_pid(volume)
    (volume.mount / "file").write_text("content")
    volume.sync()
    assert (volume.secondary / "file").read_text() == "content"
    run("umount", volume.mount)
    volume.wait_until_dead()


def test_an_fstab_line_never_takes_over_a_secondary_with_files(fstab_volume: Volume) -> None:
    volume = fstab_volume
    (volume.secondary / "precious").write_text("x")
    options = options_of(volume, f"secondary={volume.secondary}")
    table = fstab(volume, f"{volume.primary} {volume.mount} fuse.twinfs {options} 0 0")
    done = run("mount", "-T", table, volume.mount, check=False)
    assert done.returncode != 0
    assert "--adopt" in done.stderr
    assert not is_mounted(volume.mount)
    assert sorted(os.listdir(volume.secondary)) == ["precious"]


def test_mount_over_the_primary_s_own_path_by_fstab(fstab_volume: Volume) -> None:
    volume = fstab_volume.init()
    volume.mount = volume.primary
    options = options_of(volume, f"secondary={volume.secondary}")
    table = fstab(volume, f"{volume.primary} {volume.primary} fuse.twinfs {options} 0 0")
    for _ in range(2):
        run("mount", "-a", "-T", table)
        assert mountpoints().count(os.fsencode(volume.primary)) == 1
    note_pid(volume)
    (volume.primary / "file").write_text("content")
    run("umount", volume.primary)
    volume.wait_until_dead()
    assert (volume.secondary / "file").read_text() == "content"


def test_mount_t_fuse_twinfs_and_an_empty_environment(fstab_volume: Volume) -> None:
    volume = fstab_volume.init()
    run("env", "-i", "/bin/mount", "-t", "fuse.twinfs", "-o", options_of(volume), volume.name, volume.mount)
    note_pid(volume)
    assert is_mounted(volume.mount)
    run("env", "-i", "/bin/umount", volume.mount)
    volume.wait_until_dead()


def test_mount_of_an_fstab_line_mounts_again_after_a_kill(fstab_volume: Volume) -> None:
    volume = fstab_volume.init()
    table = fstab(volume, f"{volume.name} {volume.mount} fuse.twinfs {options_of(volume)} 0 0")
    run("mount", "-a", "-T", table)
    note_pid(volume)
    (volume.mount / "file").write_text("content")
    volume.kill()
    run(
        "mount", "-T", table, volume.mount
    )  # -a would take the dead mount for a mounted one, and never ask us
    note_pid(volume)
    assert (volume.mount / "file").read_text() == "content"
    assert mountpoints().count(os.fsencode(volume.mount)) == 1
    run("umount", volume.mount)
    volume.wait_until_dead()


def test_a_failing_mount_says_why_and_ends_with_a_code_of_mount_8(fstab_volume: Volume) -> None:
    volume = fstab_volume.init()
    (volume.primary / ".twinfs/label.json").unlink()
    command = ("mount", "-t", "fuse.twinfs", "-o", options_of(volume), volume.name, volume.mount)
    done = run(*command, check=False)
    assert done.returncode == 32
    assert str(volume.primary) in done.stderr
    wait_until(lambda: not is_mounted(volume.mount), 5, "mounted all the same")
