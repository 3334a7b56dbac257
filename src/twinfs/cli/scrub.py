"""`twinfs scrub`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import InjectedPaths, Json, VolumeName
from twinfs.cli.progress import ProgressDisplay
from twinfs.cli.talk import result, say
from twinfs.daemon import config
from twinfs.daemon.client import ControlClient
from twinfs.daemon.durations import parse_age
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import ScrubRequest
from twinfs.errors import NotMountedError, ScrubError, TwinfsError, UsageError
from twinfs.model import Mismatch, Progress, Role, ScrubRun, VolumeConfig
from twinfs.report import json_lines
from twinfs.report.scrub_text import mismatch_dict, mismatch_line, run_dict, run_text

_REPAIRED, _LEFT, _INTERRUPTED = 1, 4, 32
_RATE = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)i?B?(?:/s)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_LEAST_RATE = 1 << 10


def scrub(
    name: VolumeName,
    /,
    *,
    repair: Annotated[bool, Parameter(help="Put the good copy in the place of the bad one.")] = False,
    prefer: Annotated[
        Role | None, Parameter(help="With --repair: whose copy is right where nothing proves it.")
    ] = None,
    plan: Annotated[
        str,
        Parameter(
            help="What is read: full; new (never scrubbed, or changed since); or a share such as 8%, the"
            " longest unscrubbed first."
        ),
    ] = "full",
    max_rate: Annotated[
        str | None, Parameter(help="At most so much a second of each disk, such as 50M.")
    ] = None,
    if_due: Annotated[
        str | None,
        Parameter(help="Only when the last one is as old as this, such as 3w, or was interrupted."),
    ] = None,
    json: Json = False,
    report: Annotated[Path | None, Parameter(help="Write a page of HTML with the history.")] = None,
    paths: InjectedPaths,
) -> int:
    """Read both disks and compare them; with --repair, mend what is bad.

    Reads past the page cache, so it sees what is on the disks, and brings the
    secondary up to date first. A hash of each file, kept from the last time
    both copies were good, tells which copy is bad; where nothing tells, it says
    so. Nothing is changed without --repair, and what a repair replaces goes to
    the quarantine of its leg. Works on a volume that is not mounted as well.
    Interrupted, it goes on where it was.

    Ends with 0 when both legs are equal, 1 when all mismatches are repaired, 4
    when some are left, 8 when it could not run, 32 when it was interrupted.

    For example:

        twinfs scrub photos
        twinfs scrub photos --repair --plan 8% --max-rate 50M
        twinfs scrub photos --json --report scrub.html
    """
    if prefer is not None and not repair:
        raise UsageError("--prefer says how to repair; give --repair as well")
    request = ScrubRequest(_checked(plan), repair, prefer, 0.0 if max_rate is None else parse_rate(max_rate))
    volume = config.load(paths, name)
    if if_due is not None and not _is_due(paths, volume, if_due):
        say(f"volume {name}: the last scrub is not as old as {if_due}")
        return 0
    try:
        run = _run(paths, volume, request, lambda found: result(_line(found, is_json=json)))
        if report is not None:
            _write_report(paths, volume, report)
    except KeyboardInterrupt:
        say(f"interrupted; the same command goes on from here: twinfs scrub {name} --plan {plan}")
        return _INTERRUPTED
    except (UsageError, BrokenPipeError):
        raise
    except TwinfsError as error:
        say(f"twinfs: {error}")
        return ScrubError.exit_code
    result(json_lines.line(run_dict(run)) if json else run_text(name, run))
    if run.mismatches == 0:
        return 0
    return _REPAIRED if run.repaired == run.mismatches else _LEFT


def _checked(plan: str) -> str:
    from twinfs.scrub.plan import Plan

    return Plan.parse(plan).text


def _is_due(paths: Paths, volume: VolumeConfig, age: str) -> bool:
    from twinfs.daemon.last_scrub import is_due

    return is_due(paths, volume, parse_age(age))


def parse_rate(text: str) -> float:
    """Bytes a second from "50M", "800K" or a number. Raises UsageError."""
    match = _RATE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise UsageError(f"--max-rate: {text!r} is not a rate such as 50M or 800K")
    rate = float(match[1]) * _UNITS[match[2].upper()]
    if rate < _LEAST_RATE:
        raise UsageError(f"--max-rate: {text!r} is {rate:g} bytes a second: too little; say 50M or 800K")
    return rate


def _run(
    paths: Paths, volume: VolumeConfig, request: ScrubRequest, on_mismatch: Callable[[Mismatch], None]
) -> ScrubRun:
    with ProgressDisplay() as display:

        def on_progress(progress: Progress) -> None:
            display(progress)

        try:
            client = ControlClient(paths, volume.name)
        except NotMountedError:
            from twinfs.daemon import process

            return process.scrub(paths, volume, request, on_progress, on_mismatch)
        with client:
            return client.scrub(request, on_progress, on_mismatch)


def _line(found: Mismatch, *, is_json: bool) -> str:
    return json_lines.line(mismatch_dict(found)) if is_json else mismatch_line(found)


def _write_report(paths: Paths, volume: VolumeConfig, path: Path) -> None:
    from twinfs.daemon.scrub_report import html_of

    try:
        path.write_text(html_of(paths, volume), encoding="utf-8")
    except OSError as error:
        raise ScrubError(f"{path}: the report cannot be written: {error.strerror}") from None
