"""Making a volume: labels on both legs and its settings; or its settings again, from the labels."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace

from twinfs.daemon import config
from twinfs.daemon.names import check_name
from twinfs.daemon.paths import Paths
from twinfs.errors import UsageError, WrongDiskError
from twinfs.model import Role, VolumeConfig


def create_volume(
    paths: Paths, settings: VolumeConfig, *, adopt: bool, say: Callable[[str], None] = lambda line: None
) -> VolumeConfig:
    """Label both legs and write the settings; returns them with the volume's id. Two legs on one disk
    get a warning.

    Whatever can refuse comes before anything is changed. Should the last step fail all the same,
    the labels stay: the message then says so.
    """
    from twinfs.journal import log
    from twinfs.mirror.label import initialise
    from twinfs.mirror.places import one_disk

    path = paths.config_file(check_name(settings.name))
    if path.exists():
        raise UsageError(
            f"volume {settings.name} is configured already, in {path};"
            " choose another --name, or remove that file if the volume is gone"
        )
    config.require_writable(paths)
    config.require_representable(settings)
    volume_id = initialise(settings.primary, settings.secondary, settings.name, adopt=adopt)
    created = replace(settings, volume_id=volume_id)
    log.create(paths.state_dir / created.name, volume_id)
    config.save_new(paths, created)
    if shared := one_disk(settings.primary, settings.secondary):
        legs = f"{settings.primary} and {settings.secondary} are on {shared}"
        say(f"warning: {legs}: when that fails, both copies are gone. A mirror needs two disks")
    return created


def recover_volume(paths: Paths, primary: str, secondary: str) -> VolumeConfig | None:
    """Settings for two directories that are labelled as one volume already; None when neither is labelled.

    So a line of fstab is enough after the settings were lost with the system's disk. Raises
    WrongDiskError when the labels are not those of one volume's two legs.
    """
    from twinfs.mirror import label

    first = label.read(Role.PRIMARY, primary)
    second = label.read(Role.SECONDARY, secondary)
    if first is None and second is None:
        return None
    if first is None or second is None:
        labelled, bare = (secondary, primary) if first is None else (primary, secondary)
        raise WrongDiskError(
            f"{labelled} is a leg of a volume, {bare} has no label; is its disk mounted?"
            " Without settings for that volume, twinfs cannot know what belongs there"
        )
    if first.volume_id != second.volume_id or (first.leg, second.leg) != (Role.PRIMARY, Role.SECONDARY):
        raise WrongDiskError(
            f"{primary} is the {first.leg} of volume {first.volume}, {secondary} the {second.leg}"
            f" of volume {second.volume}: not the two legs of one volume in this order"
        )
    found = VolumeConfig(
        name=check_name(first.volume), volume_id=first.volume_id, primary=primary, secondary=secondary
    )
    config.require_representable(found)
    config.save_new(paths, found)
    return found


def name_from_path(path: str) -> str:
    """A volume's name out of its primary's path: "/mnt/my disk" gives "my-disk"."""
    last = os.path.basename(path.rstrip("/"))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")[:64] or "volume"
