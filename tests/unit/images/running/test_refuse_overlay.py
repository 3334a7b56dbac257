"""An overlay goes with what stays the same."""

from __future__ import annotations

import pytest

from twinfs.errors import UsageError
from twinfs.images.running.using import refuse_overlay


def test_the_disk_of_a_running_machine_takes_no_overlay() -> None:
    with pytest.raises(UsageError, match="image mount qmp:box MOUNTPOINT"):
        refuse_overlay("qmp:box")


def test_an_image_file_takes_an_overlay() -> None:
    refuse_overlay("/tmp/qmp:box")
