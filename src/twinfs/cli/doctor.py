"""`twinfs doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from twinfs.cli import checks, volume_checks
from twinfs.cli.checks import Check, Verdict
from twinfs.cli.parameters import InjectedPaths, Json
from twinfs.cli.state import volume_status
from twinfs.cli.talk import result, say
from twinfs.daemon import config
from twinfs.daemon.paths import Paths
from twinfs.errors import TwinfsError
from twinfs.report import json_lines

_MARKS = {Verdict.OK: "ok", Verdict.ADVICE: "advice", Verdict.MISSING: "MISSING"}


def doctor(*, json: Json = False, paths: InjectedPaths) -> int:
    """Tell what this machine lacks, and the command that mends it.

    Ends with 1 when something is missing that twinfs or a configured volume
    cannot do without.

    For example:

        twinfs doctor
    """
    worst = 0
    for check in [*checks.machine(paths), *volume_checks.fstab_lines(paths), *_volumes(paths)]:
        result(_json(check) if json else _text(check))
        if check.verdict is Verdict.MISSING:
            worst = 1
    if worst:
        say("something is missing; each line above says what mends it")
    return worst


def _volumes(paths: Paths) -> Iterator[Check]:
    """Everything about every configured volume; one that cannot be read is a finding of its own."""
    for name in config.list_names(paths):
        try:
            status = volume_status(paths, name)
        except TwinfsError as error:
            yield Check(f"volume {name}", Verdict.MISSING, str(error), f"edit {paths.config_file(name)}")
            continue
        volume = config.load(paths, name)
        yield from volume_checks.dead_mount(volume, status)
        yield from volume_checks.standing(status)
        yield from volume_checks.room(status)
        yield from volume_checks.log(paths, volume, status)
        yield from volume_checks.two_disks(volume)
        yield from volume_checks.old_jobs(volume)
        yield from volume_checks.channels(volume)


def _text(check: Check) -> str:
    fix = f"\n{'':9}-> {check.fix}" if check.fix else ""
    return f"{_MARKS[check.verdict]:<8} {check.name}: {check.message}{fix}"


def _json(check: Check) -> str:
    return json_lines.line(
        {
            "type": "check",
            "name": check.name,
            "verdict": check.verdict.value,
            "message": check.message,
            "fix": check.fix,
        }
    )
