"""Where twinfs keeps its files: options, then the environment, then the user's defaults.

In strings, so that a command that only has a word for the daemon need not load pathlib; see paths.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def directories(
    config_dir: str | None, state_dir: str | None, environ: Mapping[str, str], *, is_root: bool
) -> tuple[str, str, str]:
    """The absolute (config, state, run) directories.

    When the state directory was moved and the run directory was not, the sockets follow it. Otherwise a
    test or a second installation with a state of its own would still meet the machine's daemons in the
    shared run directory. An empty variable is none.
    """
    defaults = ("/etc/twinfs", "/var/lib/twinfs", "/run/twinfs") if is_root else _of_a_user(environ)
    config = config_dir or environ.get("TWINFS_CONFIG_DIR") or defaults[0]
    state = state_dir or environ.get("TWINFS_STATE_DIR")
    run = environ.get("TWINFS_RUN_DIR") or (os.path.join(state, "run") if state else defaults[2])
    return os.path.abspath(config), os.path.abspath(state or defaults[1]), os.path.abspath(run)


def _of_a_user(environ: Mapping[str, str]) -> tuple[str, str, str]:
    """The XDG Base Directory Specification's places; below the state's where no session made a run dir."""
    home = environ.get("HOME") or "/"
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    state = environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    runtime = environ.get("XDG_RUNTIME_DIR")
    run = os.path.join(runtime, "twinfs") if runtime else os.path.join(state, "twinfs", "run")
    return os.path.join(config, "twinfs"), os.path.join(state, "twinfs"), run


def socket_name(name: str) -> str:
    """In the run directory."""
    return f"{name}.sock"
