"""What `twinfs status` tells, without the command line's parser: see plain.py."""

from __future__ import annotations

import time
from dataclasses import replace

from twinfs.cli.talk import result, say
from twinfs.daemon.client import ControlClient
from twinfs.daemon.paths import Paths
from twinfs.errors import NotMountedError, TwinfsError
from twinfs.model import VolumeState, VolumeStatus
from twinfs.report import json_lines
from twinfs.report.status_text import status_text

_DEGRADED_EXIT_CODE = 3
_BAD_STATES = (VolumeState.DEGRADED, VolumeState.FAILED)


def show_status(paths: Paths, name: str | None, *, json: bool) -> int:
    """Of one volume, or of all; returns the exit code. Raises TwinfsError."""
    names = [name] if name is not None else _all_names(paths)
    if not names:
        say(f"no volume is configured in {paths.config_dir}; see: twinfs init --help")
    exit_code = 0
    for each in names:
        try:
            state = volume_status(paths, each)
        except TwinfsError as error:
            if name is not None:
                raise
            # The other volumes still have something to say.
            say(f"twinfs: {error}")
            exit_code = error.exit_code
            continue
        result(json_lines.line(json_lines.status_dict(state)) if json else status_text(state, time.time()))
        if state.state in _BAD_STATES or (state.state is not VolumeState.CLEAN and state.action):
            exit_code = exit_code or _DEGRADED_EXIT_CODE
        if name is not None and state.pid is None:
            exit_code = NotMountedError.exit_code
    return exit_code


def _all_names(paths: Paths) -> list[str]:
    from twinfs.daemon import config

    return config.list_names(paths)


def volume_status(paths: Paths, name: str) -> VolumeStatus:
    """From the daemon, or without one from the labels and the log."""
    try:
        with ControlClient(paths, name) as client:
            return client.status()
    except NotMountedError:
        from twinfs.daemon import config

        volume = config.load(paths, name)
        from twinfs.daemon.last_scrub import with_last
        from twinfs.mirror.volume import Volume

        found = with_last(paths, volume, Volume.offline_status(volume, paths.state_dir))
    from twinfs.daemon import mounts

    if mounts.twinfs_at(volume.primary) is not None and mounts.is_dead(volume.primary):
        # It hides the primary, which then looks faulty.
        action = f"twinfs mount {name}: its daemon died, and mounting clears what it left over the primary"
        return replace(found, action=action)
    return found
