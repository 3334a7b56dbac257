"""Where an image can be looked into, when it lies in a mounted volume."""

from __future__ import annotations

import os
from pathlib import Path

from twinfs_capture import devices

_KIND = "fuse.twinfs"


def where_to_browse(image: Path) -> str | None:
    """`MOUNTPOINT/.twinfs/images/PATH/p1/` for an image in a volume; None elsewhere."""
    mount = devices.mount_of(image)
    if mount is None or mount.kind != _KIND:
        return None
    inside = os.path.relpath(os.path.realpath(image), mount.mountpoint)
    tree = Path(mount.mountpoint, ".twinfs", "images", inside)
    try:
        partitions = sorted(name for name in os.listdir(tree) if name.startswith("p") and name[1:].isdigit())
    except OSError:
        return None
    return f"{tree / partitions[0]}/" if partitions else f"{tree}/"
