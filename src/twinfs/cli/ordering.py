"""What the recovery commands share: to ask the daemon, or to do it here; and to say what came of it."""

from __future__ import annotations

from dataclasses import asdict

from twinfs.cli.progress import ProgressDisplay
from twinfs.cli.talk import result, say
from twinfs.daemon.client import ControlClient
from twinfs.daemon.errand import Errand
from twinfs.daemon.paths import Paths
from twinfs.errors import NotMountedError
from twinfs.model import Order, Survey
from twinfs.report import json_lines
from twinfs.report.survey_text import survey_text


def carry_out(
    paths: Paths, name: str, order: Order, *, dry_run: bool, json: bool, errand: Errand | None = None
) -> int:
    """Mounted or not; returns the exit code. `errand`: the daemon is at it. Raises TwinfsError,
    KeyboardInterrupt."""
    with ProgressDisplay() as display:
        try:
            client = ControlClient(paths, name, errand)
        except NotMountedError:
            from twinfs.daemon import config, process

            volume = config.load(paths, name)
            found = process.recover(paths, volume, order, is_dry_run=dry_run, on_progress=display)
        else:
            with client:
                try:
                    found = client.recover(order, is_dry_run=dry_run, on_progress=display)
                except KeyboardInterrupt:
                    say(f"the daemon goes on with it; look with: twinfs status {name}")
                    raise
    tell(name, order, found, json=json)
    return 0


def tell(name: str, order: Order, found: str | Survey, *, json: bool) -> None:
    """What was done, or what would be."""
    if json:
        values = {"message": found} if isinstance(found, str) else asdict(found)
        result(json_lines.line({"type": order.action.value, "volume": name, **values}))
    elif isinstance(found, str):
        result(f"volume {name}: {found}")
    else:
        result(survey_text(name, order.action, found))
