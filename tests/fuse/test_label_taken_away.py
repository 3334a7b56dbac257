"""The rsync whose place twinfs took still runs at night, and takes the mirror's label away."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.volume import Volume, wait_until


def run_rsync(volume: Volume) -> None:
    """From what people see, which has no label, to the secondary."""
    command = ["rsync", "-a", "--delete", "--delete-excluded", "--delete-after"]
    subprocess.run([*command, f"{volume.mount}/", f"{volume.secondary}/"], check=True)
    assert not (volume.secondary / ".twinfs").exists()


@pytest.mark.parametrize("is_mounted", [True, False], ids=["mounted", "unmounted"])
def test_the_mirror_is_taken_back_and_nothing_is_copied_or_lost(volume: Volume, is_mounted: bool) -> None:
    (volume.mount / "kept").write_bytes(os.urandom(100_000))
    (volume.mount / "gone").write_text("its last copy is on the mirror")
    volume.sync()
    inode = (volume.secondary / "kept").stat().st_ino
    volume.tolerated.append(".*(its label is gone|has no twinfs label)")
    run_rsync(volume)
    wait_until(lambda: "--adopt" in str(volume.status()["action"]), 60, "nobody says what to do")
    assert volume.status()["legs"][1]["state"] == "missing"
    (volume.mount / "gone").unlink()
    (volume.mount / "new").write_text("written meanwhile")
    if not is_mounted:
        assert volume.twinfs("umount", volume.name, check=False).returncode == 1
        volume.wait_until_dead()
        refused = volume.twinfs("mount", volume.name, volume.mount, check=False)
        assert (refused.returncode, "--adopt" in refused.stderr) == (1, True)

    command = ("replace", volume.name, "secondary", volume.secondary)
    refused = volume.twinfs(*command, "--force", check=False)
    assert (refused.returncode, "is not empty" in refused.stderr) == (1, True)
    assert not (volume.secondary / ".twinfs").exists()
    told = volume.twinfs(*command, "--adopt", "--force").stdout
    assert "1 file differed, copied anew" in told and "both legs are equal" in told
    if not is_mounted:
        volume.mount_it()
    assert volume.status()["state"] == "clean"
    assert (volume.secondary / "kept").stat().st_ino == inode, "copied once more"
    [kept] = (volume.secondary / ".twinfs/quarantine").glob("*/gone")
    assert kept.read_text() == "its last copy is on the mirror"
    (volume.mount / "after").write_text("mirrored again")
    volume.sync()
    volume.assert_legs_equal()
