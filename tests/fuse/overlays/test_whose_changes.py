"""An overlay belongs to one image as it was, and to one mount at a time."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

from support.machine import needs_root, run
from support.mounted_image import make_fat, unmount
from support.volume import twinfs_command, wait_until

pytestmark = needs_root  # for owners and nodes in the images


def refused(image: Path, workspace: Path, overlay: Path, mountpoint: str = "mnt_other") -> str:
    (workspace / mountpoint).mkdir(exist_ok=True)
    words = [*twinfs_command(), "image", "mount", "--overlay", overlay, image, workspace / mountpoint]
    environment = {**os.environ, "TWINFS_STATE_DIR": str(workspace)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    return done.stderr


def test_two_mounts_do_not_share_an_overlay(overlaid, image, overlay, workspace):
    mounted = overlaid()
    assert "is in use" in refused(image, workspace, overlay)
    done = run(
        *twinfs_command(),
        "image",
        "extract",
        "--overlay",
        overlay,
        image,
        "/p0",
        workspace / "x",
        check=False,
    )
    assert "is in use" in done.stderr
    assert (mounted.path / "p0" / "small").read_text()


def test_an_overlay_belongs_to_one_image_as_it_was(mount, overlay, workspace):
    first, other = make_fat(workspace / "first", b"1"), make_fat(workspace / "other", b"2")
    mounted = mount(first, words=("--overlay", overlay))
    (mounted.path / "p0" / "file.txt").write_text("changed")
    unmount(mounted, overlay)

    assert "another image" in refused(other, workspace, overlay)
    done = run(*twinfs_command(), "image", "ls", "--overlay", overlay, other, "/p0", check=False)
    assert "another image" in done.stderr
    run("cp", "--preserve=timestamps", first, workspace / "moved")
    mounted = mount(workspace / "moved", words=("--overlay", overlay))
    assert (mounted.path / "p0" / "file.txt").read_text() == "changed"
    unmount(mounted, overlay)
    with open(first, "r+b") as file:
        file.write(file.read(1))
    assert "written to since" in refused(first, workspace, overlay)


def test_a_directory_with_other_things_is_not_taken(image, workspace):
    (workspace / "full").mkdir()
    (workspace / "full" / "file").touch()
    assert "neither empty nor" in refused(image, workspace, workspace / "full")
    assert os.listdir(workspace / "full") == ["file"]
    assert "beneath the mount point" in refused(image, workspace, workspace / "mnt_other" / "in")
    done = run(*twinfs_command(), "image", "changes", workspace / "full", check=False)
    assert done.returncode == 1


def test_an_image_that_is_rewritten_beneath_its_overlay_is_not_mixed_with_it(mount, overlay, workspace):
    image = make_fat(workspace / "image", b"old" * 10_000)
    mounted = mount(image, words=("--overlay", overlay))
    path = mounted.path / "p0" / "file.txt"
    (mounted.path / "p0" / "new").write_text("kept")
    other = make_fat(workspace / "other", b"new" * 10_000)
    with open(image, "r+b") as file:
        file.write(other.read_bytes())

    def is_refused() -> bool:
        try:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                seen = file.read()
        except OSError as error:
            assert error.errno == errno.EIO
            return True
        assert seen == b"old" * 10_000
        return False

    wait_until(is_refused, 60, "the image's new content is shown, or the old for ever")
    assert (mounted.path / "p0" / "new").read_text() == "kept"
    wait_until(lambda: "fits no more" in mounted.log.read_text(), 60, "it is not said")
