"""From what a person or fstab says (a mountpoint, a primary's path) to a configured volume."""

from __future__ import annotations

import os
from collections.abc import Iterator

from twinfs.daemon import config
from twinfs.daemon.paths import Paths
from twinfs.errors import ConfigError
from twinfs.model import VolumeConfig


def by_primary(paths: Paths, primary: str) -> VolumeConfig | None:
    """The volume whose primary leg is this path, or None."""
    return next((volume for volume in _readable(paths) if is_same_path(volume.primary, primary)), None)


def default_mountpoint(volume: VolumeConfig) -> str:
    """Over the primary itself unless the settings say otherwise, so that users keep their paths."""
    return volume.mountpoint or volume.primary


def canonical(path: str) -> str:
    """Absolute, with symbolic links resolved in every component but the last.

    The last one is left alone because a mount whose daemon died cannot be looked at (ENOTCONN);
    umount(8) does the same.
    """
    absolute = os.path.abspath(path)
    parent, name = os.path.split(absolute)
    return os.path.join(os.path.realpath(parent), name)


def is_same_path(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other) or canonical(one) == canonical(other)


def _readable(paths: Paths) -> Iterator[VolumeConfig]:
    """Every volume whose settings parse: a typo in one file must not keep the others from mounting."""
    for name in config.list_names(paths):
        try:
            yield config.load(paths, name)
        except ConfigError:
            continue
