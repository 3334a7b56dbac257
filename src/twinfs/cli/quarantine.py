"""`twinfs quarantine`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import DryRun, InjectedPaths, Json, VolumeName
from twinfs.cli.progress import ProgressDisplay
from twinfs.cli.talk import result, say
from twinfs.daemon import config
from twinfs.daemon.durations import parse_age
from twinfs.daemon.paths import Paths
from twinfs.errors import UsageError
from twinfs.model import Quarantined, VolumeConfig
from twinfs.report import json_lines
from twinfs.report import quarantine_text as text


def quarantine(
    name: VolumeName,
    /,
    *,
    restore: Annotated[
        str | None, Parameter(help="Copy it out: a path as listed, all below it, or an object's id.")
    ] = None,
    to: Annotated[
        str | None, Parameter(help="With --restore: into this directory, or under this name.")
    ] = None,
    purge: Annotated[bool, Parameter(help="Remove for good what is as old as --older-than says.")] = False,
    older_than: Annotated[
        str | None, Parameter(help="With --purge: such as 30d, 4w or 36h; 0d for all of it.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """List what was put aside, never away; bring it back, or let it go.

    A comparison, a scrub's repair or a leg that gives way puts what it
    replaces into the quarantine of the leg that it was on. Each line says
    when, on which leg, how large it is, where it was, and why.

    --restore copies; what is in quarantine stays there until it is purged,
    and nothing is ever replaced. Works on a volume that is not mounted
    as well.

    For example:

        twinfs quarantine photos
        twinfs quarantine photos --restore 2024/summer.jpg --to /tmp
        twinfs quarantine photos --purge --older-than 30d --dry-run
    """
    settings = config.load(paths, name)
    _require_sense(restore, to, older_than, is_purging=purge, is_dry_run=dry_run)
    if purge:
        assert older_than is not None
        return _purge(paths, settings, parse_age(older_than, may_be_zero=True), is_dry_run=dry_run, json=json)
    if restore is not None:
        assert to is not None
        return _restore(paths, settings, restore, to, json=json)
    from twinfs.daemon.quarantine import listed

    found = listed(paths, settings, say)
    _list(found, json=json)
    if not found:
        say(f"volume {name}: nothing is in quarantine")
    return 0


def _require_sense(
    restore: str | None, to: str | None, older_than: str | None, *, is_purging: bool, is_dry_run: bool
) -> None:
    if is_purging and restore is not None:
        raise UsageError("either --restore or --purge")
    if is_purging and older_than is None:
        raise UsageError("--purge: say how old, such as --older-than 30d; everything: --older-than 0d")
    if restore is not None and to is None:
        raise UsageError("--restore: say where to: --to DIR, in the mounted volume or elsewhere")
    if (to is not None and restore is None) or ((older_than or is_dry_run) and not is_purging):
        raise UsageError("--to goes with --restore; --older-than and --dry-run go with --purge")


def _list(found: Sequence[Quarantined], *, json: bool) -> None:
    if json:
        for each in found:
            result(json_lines.line(text.quarantined_dict(each)))
    else:
        for line in text.quarantined_lines(found):
            result(line)


def _restore(paths: Paths, settings: VolumeConfig, what: str, to: str, *, json: bool) -> int:
    from twinfs.daemon.quarantine import restore

    with ProgressDisplay() as display:
        done = restore(paths, settings, what, to, display, say)
    result(json_lines.line(text.copied_dict(done)) if json else text.copied_text(done))
    return 0


def _purge(paths: Paths, settings: VolumeConfig, seconds: float, *, is_dry_run: bool, json: bool) -> int:
    from twinfs.daemon.quarantine import purge

    gone = purge(paths, settings, seconds, say, is_dry_run=is_dry_run)
    if is_dry_run:
        _list(gone, json=json)
    last = text.purged_dict(gone, is_dry_run=is_dry_run)
    result(json_lines.line(last) if json else text.purged_text(gone, is_dry_run=is_dry_run))
    return 0
