"""A label that is there and says nothing: what a disk gives that has lost the block."""

from __future__ import annotations

import os

import pytest

from support.volume import Volume, wait_until


@pytest.mark.parametrize("content", [b"\0" * 300, b'{"volume": "pai'], ids=["zeros", "cut short"])
def test_a_secondary_with_a_damaged_label_is_faulty_and_a_new_disk_is_the_way_out(new_volume, content):
    volume: Volume = new_volume("sync").init().mount_it()
    (volume.mount / "before").write_text("x")
    volume.sync()
    (volume.secondary / ".twinfs/label.json").write_bytes(content)
    wait_until(lambda: volume.status()["legs"][1]["state"] == "faulty", 30, "nobody noticed")
    wait_until(lambda: "is damaged" in str(volume.status()["action"]), 30, "it is not said")
    assert "twinfs replace" in volume.status()["action"]
    assert "secondary_failed" in volume.twinfs("events", volume.name).stdout
    (volume.mount / "after").write_text("y")

    volume.tolerated.append("secondary leg: .* is damaged")
    done = volume.twinfs("umount", volume.name, check=False)
    assert (done.returncode, "its label, .twinfs/label.json, is damaged" in done.stderr) == (1, True)
    volume.wait_until_dead()
    refused = volume.twinfs("mount", volume.name, volume.mount, check=False)
    assert refused.returncode == 1
    assert "twinfs mount --degraded" in refused.stderr
    assert (volume.secondary / ".twinfs/label.json").read_bytes() == content
    assert sorted(os.listdir(volume.secondary)) == [".twinfs", "before"]

    volume.mount_it("--degraded")
    (volume.base / "new").mkdir()
    volume.twinfs("replace", volume.name, "secondary", volume.base / "new", "--force")
    volume.secondary = volume.base / "new"
    assert volume.status()["state"] == "clean"
    volume.assert_legs_equal()
