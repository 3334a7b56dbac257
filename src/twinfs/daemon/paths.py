"""Where twinfs keeps its files, decided once for every command and for the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twinfs.daemon.directories import directories, socket_name


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
        return self.run_dir / socket_name(name)

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
    """Settle the three directories: option, then environment, then the user's default."""
    config, state = (None if chosen is None else str(chosen) for chosen in (config_dir, state_dir))
    return Paths(*map(Path, directories(config, state, environ, is_root=is_root)))
