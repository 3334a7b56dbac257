"""`twinfs doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from twinfs.cli import checks
from twinfs.cli.checks import Check, Verdict
from twinfs.cli.parameters import InjectedPaths, Json
from twinfs.cli.state import volume_status
from twinfs.cli.talk import result, say
from twinfs.daemon import config
from twinfs.daemon.paths import Paths
from twinfs.errors import TwinfsError
from twinfs.model import LegState, LegStatus
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
    for check in [*checks.machine(paths), *_volumes(paths)]:
        result(_json(check) if json else _text(check))
        if check.verdict is Verdict.MISSING:
            worst = 1
    if worst:
        say("something is missing; each line above says what mends it")
    return worst


def _volumes(paths: Paths) -> Iterator[Check]:
    """Every leg of every configured volume; a volume that cannot be read is a finding of its own."""
    for name in config.list_names(paths):
        try:
            status = volume_status(paths, name)
        except TwinfsError as error:
            yield Check(f"volume {name}", Verdict.MISSING, str(error), f"edit {paths.config_file(name)}")
            continue
        for leg in status.legs:
            yield _leg(name, leg, status.action)
        volume = config.load(paths, name)
        yield from checks.two_disks(volume)
        yield from checks.channels(volume)


def _leg(name: str, leg: LegStatus, action: str | None) -> Check:
    label = f"volume {name}, {leg.role}"
    if leg.state in (LegState.IN_SYNC, LegState.STALE):
        return Check(label, Verdict.OK, f"{leg.path} is mounted and labelled")
    fix = f"mount its disk: mount {leg.path}" if leg.state is LegState.MISSING else action
    return Check(label, Verdict.MISSING, f"{leg.path} is {leg.state}", fix)


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
