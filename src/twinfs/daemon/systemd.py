"""The schedule where there is systemd: a service and a timer for each volume, from two templates.

Sources: systemd.service(5), systemd.timer(5), systemd.exec(5). `python -m twinfs.daemon.systemd DIRECTORY
PROGRAM` writes the templates, for `make install`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from twinfs.daemon.paths import Paths
from twinfs.errors import ConfigError

SERVICE: Final = "twinfs-scrub@.service"
TIMER: Final = "twinfs-scrub@.timer"

_SERVICE_TEXT: Final = """\
[Unit]
Description=Scrub of the twinfs volume %i
Documentation=man:twinfs(1)

[Service]
Type=oneshot
# After an interruption it goes on where it was; otherwise it waits for its time.
ExecStart={program} scrub %i --plan full --if-due 3w
# A clean stop, at which it notes how far it is.
KillSignal=SIGINT
SuccessExitStatus=32
Nice=10
IOSchedulingClass=idle
"""

_TIMER_TEXT: Final = """\
[Unit]
Description=Monthly scrub of the twinfs volume %i
Documentation=man:twinfs(1)

[Timer]
OnCalendar=monthly
# What a reboot has interrupted goes on without waiting for the next month.
OnStartupSec=30min
RandomizedDelaySec=6h
Persistent=true

[Install]
WantedBy=timers.target
"""


def write_templates(directory: Path, program: str) -> list[Path]:
    """Both unit templates into `directory`. Raises ConfigError."""
    written = []
    for name, text in ((SERVICE, _SERVICE_TEXT.format(program=_quoted(program))), (TIMER, _TIMER_TEXT)):
        path = directory / name
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
        written.append(path)
    return written


def unit_directory(environ: dict[str, str], *, is_root: bool) -> Path:
    """Where an administrator's, or a user's, own units are, systemd.unit(5)."""
    if is_root:
        return Path("/etc/systemd/system")
    base = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME') or '/'}/.config"
    return Path(base) / "systemd" / "user"


def schedule(paths: Paths, name: str, say: Callable[[str], None], directory: Path | None = None) -> None:
    """Write the units and switch the volume's timer on. Raises ConfigError.

    Where systemd does not run just now, it is told the next time; `say` tells how.
    """
    is_root = os.geteuid() == 0
    where = directory or unit_directory(dict(os.environ), is_root=is_root)
    write_templates(where, _program())
    write_paths(where, paths, name)
    timer = TIMER.replace("@", f"@{name}")
    words = ["systemctl", *(() if is_root else ("--user",))]
    if directory is None and shutil.which("systemctl") and Path("/run/systemd/system").is_dir():
        for command in ([*words, "daemon-reload"], [*words, "enable", "--now", timer]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ConfigError(f"{' '.join(command)}: {done.stderr.strip()}")
        say(f"{timer} scrubs it once a month; see: systemctl list-timers")
        return
    say(
        f"the units are in {where}, but systemd does not run here; when it does:"
        f" {' '.join([*words, 'enable', '--now', timer])}\n"
        f'  without systemd, say it in {paths.config_file(name)}: scrub_at = "sun 03:00"'
    )


def write_paths(where: Path, paths: Paths, name: str) -> None:
    """What this volume's service has to know to find the same files as the command that made it."""
    lines = (
        f'Environment="TWINFS_CONFIG_DIR={paths.config_dir}"',
        f'Environment="TWINFS_STATE_DIR={paths.state_dir}"',
        f'Environment="TWINFS_RUN_DIR={paths.run_dir}"',
    )
    drop_in = where / f"twinfs-scrub@{name}.service.d" / "paths.conf"
    try:
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        drop_in.write_text("[Service]\n" + "".join(line.replace("%", "%%") + "\n" for line in lines))
    except OSError as error:
        raise ConfigError(f"{drop_in}: cannot be written: {error.strerror}") from None


def _program() -> str:
    """What was called, or the console script beside this Python: systemd wants an absolute path."""
    beside = Path(sys.executable).with_name("twinfs")
    return str(beside if beside.exists() else shutil.which("twinfs") or beside)


def _quoted(program: str) -> str:
    escaped = program.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if any(mark in escaped for mark in " \"'") else escaped


if __name__ == "__main__":
    write_templates(Path(sys.argv[1]), sys.argv[2])
