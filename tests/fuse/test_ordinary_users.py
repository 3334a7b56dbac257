"""A user without root's rights has a volume over files of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.machine import NOBODY_UID, is_mounted, needs_root, run
from support.volume import Volume, as_user_prefix, twinfs_command
from support.volume_images import make_image

# Root is needed to become somebody else; run by an ordinary user, every other test is of this kind.
pytestmark = needs_root

_WORK = """
import os, sys
os.chdir(sys.argv[1])
os.mkdir("dir", 0o750)
with open("dir/file", "w") as file:
    file.write("mine" * 10_000)
os.link("dir/file", "hard")
os.symlink("dir/file", "link")
os.setxattr("dir/file", "user.note", b"x")
os.chmod("hard", 0o604)
os.utime("dir/file", ns=(1, 1_234_567_890_123_456_789))
os.mkfifo("fifo")
os.rename("dir", "renamed")
os.close(os.open("secret", os.O_CREAT | os.O_WRONLY, 0))
for refused in (lambda: os.mknod("device", 0o20600, os.makedev(1, 3)), lambda: os.chown("hard", 0, 0)):
    try:
        refused()
    except PermissionError:
        continue
    sys.exit("was allowed")
assert os.stat("hard").st_uid == os.getuid()
print(sorted(os.listdir(".")))
"""


@pytest.fixture(params=("sync", "batched"))
def user_volume(
    new_volume, workspace: Path, open_fuse_device: None, request: pytest.FixtureRequest
) -> Volume:
    volume: Volume = new_volume(
        request.param, legs=(workspace / "one", workspace / "two"), command_prefix=as_user_prefix(NOBODY_UID)
    )
    for directory in (volume.primary, volume.secondary, volume.mount, *map(Path, volume.env.values())):
        os.chown(directory, NOBODY_UID, NOBODY_UID)
    return volume


def test_a_user_mounts_works_syncs_and_unmounts(user_volume: Volume) -> None:
    volume = user_volume.init().mount_it()
    seen = run(*volume.command_prefix, sys.executable, "-c", _WORK, volume.mount).stdout
    assert seen == "['fifo', 'hard', 'link', 'renamed', 'secret']\n"
    assert Path(f"/proc/{volume.pid}").stat().st_uid == NOBODY_UID
    volume.assert_legs_equal()
    volume.umount()


def test_a_user_unmounts_with_fusermount3(user_volume: Volume) -> None:
    volume = user_volume.init().mount_it()
    run(*volume.command_prefix, sys.executable, "-c", _WORK, volume.mount)
    run(*volume.command_prefix, "fusermount3", "-u", volume.mount)
    assert not is_mounted(volume.mount)
    volume.wait_until_dead()
    volume.assert_rsync_finds_nothing()


def test_a_user_s_volume_is_mounted_again_after_a_kill(user_volume: Volume) -> None:
    volume = user_volume.init().mount_it()
    run(*volume.command_prefix, sys.executable, "-c", _WORK, volume.mount)
    volume.kill()
    volume.remount()
    assert run(*volume.command_prefix, "cat", volume.mount / "hard").stdout == "mine" * 10_000
    volume.assert_legs_equal()


def test_nobody_else_enters_a_user_s_volume(user_volume: Volume) -> None:
    volume = user_volume.init().mount_it()
    assert run("ls", volume.mount, check=False).returncode != 0


def test_a_file_that_the_user_may_not_read_is_not_read_for_them(user_volume: Volume) -> None:
    volume = user_volume
    (volume.primary / "of-root").write_text("secret")
    (volume.primary / "of-root").chmod(0o600)
    (volume.primary / "readable").write_text("open to all")
    volume.init().mount_it()
    refused = run(*volume.command_prefix, "cat", volume.mount / "of-root", check=False)
    assert refused.returncode != 0
    assert "Permission denied" in refused.stderr
    assert run(*volume.command_prefix, "cat", volume.mount / "readable").stdout == "open to all"
    run(*volume.command_prefix, "touch", volume.mount / "mine")
    volume.twinfs("sync", volume.name, check=False)
    assert (volume.secondary / "mine").exists(), "what cannot be mirrored held up what can"
    for name in ("of-root", "readable"):  # what is not the user's, their daemon cannot mirror as it is
        run(*volume.command_prefix, "rm", "-f", volume.mount / name)


def test_defaults_follow_xdg(workspace: Path) -> None:
    """Without any TWINFS_ variable a user's settings are in their own directories."""
    home = workspace / "home"
    for name in ("", "a", "b"):
        (home / name).mkdir()
        os.chown(home / name, NOBODY_UID, NOBODY_UID)
    env = {"HOME": str(home), "XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}
    command = (*as_user_prefix(NOBODY_UID), *twinfs_command())
    run(*command, "init", home / "a", home / "b", "--name", "mine", env=env)
    assert (home / ".config/twinfs/mine.toml").exists()


def test_a_user_reads_all_of_an_image_in_their_volume(user_volume: Volume, workspace: Path) -> None:
    """Also what belongs to others there: the image is theirs to read."""
    tree = workspace / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed/letter.txt").write_text("dear")
    (tree / "closed/letter.txt").chmod(0o600)
    (tree / "closed").chmod(0o700)
    image = make_image(workspace / "disk.img", tree)
    volume = user_volume.init().mount_it()
    run(*volume.command_prefix, "cp", image, volume.mount / "disk.img")
    inside = volume.mount / ".twinfs/images/disk.img/p1"
    assert run(*volume.command_prefix, "cat", inside / "closed/letter.txt").stdout == "dear"
    volume.sync()  # from then on its content cannot be read for the secondary, either
    run(*volume.command_prefix, "chmod", "0", volume.mount / "disk.img")
    refused = run(*volume.command_prefix, "ls", inside, check=False)
    assert "Permission denied" in refused.stderr
