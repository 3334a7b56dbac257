"""Where twinfs keeps its files, decided once for every command and for the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """Three directories, absolute: settings, state that must survive, and sockets that need not.

    `state_dir/NAME/` belongs to one volume. The run directory is apart from it because it lives on
    tmpfs where there is one, so that no socket outlives a reboot.
    """

    config_dir: Path
    state_dir: Path
    run_dir: Path

    def config_file(self, name: str) -> Path:
        return self.config_dir / f"{name}.toml"

    def volume_dir(self, name: str) -> Path:
        return self.state_dir / name

    def lock_file(self, name: str) -> Path:
        return self.volume_dir(name) / "lock"

    def log_file(self, name: str) -> Path:
        return self.volume_dir(name) / "daemon.log"

    def events_file(self, name: str) -> Path:
        return self.volume_dir(name) / "events.jsonl"

    def reminders_file(self, name: str) -> Path:
        return self.volume_dir(name) / "reminders.json"

    def socket(self, name: str) -> Path:
        return self.run_dir / f"{name}.sock"

    def make_volume_dir(self, name: str) -> Path:
        """Create what the volume's daemon writes to, readable by its owner only: logs name files."""
        directory = self.volume_dir(name)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory


def resolve(
    config_dir: Path | None,
    state_dir: Path | None,
    environ: Mapping[str, str],
    *,
    is_root: bool,
) -> Paths:
    """Settle the three directories: option, then environment, then the user's default.

    When the state directory was moved and the run directory was not, the sockets follow it.
    Otherwise a test or a second installation with a state of its own would still meet the
    machine's daemons in the shared run directory.
    """
    home = Path(environ.get("HOME") or "/")
    config = config_dir or _from_environment(environ, "TWINFS_CONFIG_DIR")
    state = state_dir or _from_environment(environ, "TWINFS_STATE_DIR")
    run = _from_environment(environ, "TWINFS_RUN_DIR")
    if run is None and state is not None:
        run = state / "run"
    if is_root:
        defaults = (Path("/etc/twinfs"), Path("/var/lib/twinfs"), Path("/run/twinfs"))
    else:
        defaults = _xdg_defaults(environ, home)
    return Paths(
        config_dir=(config or defaults[0]).absolute(),
        state_dir=(state or defaults[1]).absolute(),
        run_dir=(run or defaults[2]).absolute(),
    )


def _xdg_defaults(environ: Mapping[str, str], home: Path) -> tuple[Path, Path, Path]:
    """The XDG Base Directory Specification's places; state_dir/run where no session made a run dir."""
    config = _from_environment(environ, "XDG_CONFIG_HOME") or home / ".config"
    state = _from_environment(environ, "XDG_STATE_HOME") or home / ".local" / "state"
    runtime = _from_environment(environ, "XDG_RUNTIME_DIR")
    run = runtime / "twinfs" if runtime else state / "twinfs" / "run"
    return config / "twinfs", state / "twinfs", run


def _from_environment(environ: Mapping[str, str], variable: str) -> Path | None:
    value = environ.get(variable)
    return Path(value) if value else None
