"""`twinfs restore`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import InjectedPaths, Json, VolumeName
from twinfs.cli.progress import ProgressDisplay
from twinfs.cli.talk import result, say
from twinfs.daemon import config
from twinfs.errors import VersionError
from twinfs.report import json_lines
from twinfs.report.versions_text import restored_dict, restored_text


def restore(
    name: VolumeName,
    path: Annotated[str, Parameter(help="A file or directory in the volume; / for all of it.")],
    /,
    *,
    at: Annotated[
        str | None,
        Parameter(help="As it was then, such as 'yesterday 18:00', '2026-11-27 18:00' or 3h (ago)."),
    ] = None,
    to: Annotated[
        str | None, Parameter(help="Into this directory, or under this name, not to its place.")
    ] = None,
    force: Annotated[
        bool, Parameter(help="Replace what is there; it is kept as a version, as when you replace it.")
    ] = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Bring back a file or a directory as it was.

    Without --at, as it was before it was last deleted or changed. What is
    there and equal stays, what is there besides stays too; where something else
    is in its place, nothing is done, unless --force or --to is given. Works on a
    volume that is not mounted as well.

    Ends with 1 when something of it could not be had any more.

    For example:

        twinfs restore photos 2024/summer.jpg
        twinfs restore photos / --at "yesterday 18:00" --to /tmp/then
    """
    from twinfs.daemon.versions import Wish
    from twinfs.daemon.versions import restore as bring_back

    settings = config.load(paths, name)
    with ProgressDisplay() as display:
        try:
            done = bring_back(paths, settings, Wish(path, at, to, force), display, say)
        except OSError as error:
            raise VersionError(f"stopped: {error}; what was restored until then stays") from error
    result(json_lines.line(restored_dict(done)) if json else restored_text(done))
    return 1 if done.lost else 0
