"""What fstab calls a volume."""

from __future__ import annotations

import pytest

from twinfs.daemon.fstab import source_for

FSTAB = r"""
# /mnt/x /mnt/commented fuse.twinfs defaults 0 0
/dev/sda1 / ext4 defaults 0 1
/mnt/hd1 /mnt/hd1 fuse.twinfs secondary=/mnt/hd2 0 0
photos /mnt/with\040space fuse.twinfs defaults
tmpfs /mnt/other tmpfs
broken
"""


@pytest.mark.parametrize(
    ("mountpoint", "source"),
    [
        ("/mnt/hd1", "/mnt/hd1"),
        ("/mnt/hd1/", "/mnt/hd1"),
        ("/mnt/with space", "photos"),
        ("/mnt/other", None),
        ("/mnt/commented", None),
        ("/", None),
    ],
)
def test_the_first_field_of_our_line_for_a_mountpoint(tmp_path, mountpoint, source):
    (tmp_path / "fstab").write_text(FSTAB)
    assert source_for(mountpoint, tmp_path / "fstab") == source


def test_a_machine_without_fstab_has_no_line(tmp_path):
    assert source_for("/mnt", tmp_path / "fstab") is None
