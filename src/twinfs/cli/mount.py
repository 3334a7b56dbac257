"""`twinfs mount`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import InjectedPaths, MountOptionList, VolumeName
from twinfs.cli.talk import say
from twinfs.daemon import config, mounting
from twinfs.daemon.options import parse_options


def mount(
    name: VolumeName,
    mountpoint: Annotated[
        str | None, Parameter(help="Where; else as in the settings, else over the primary itself.")
    ] = None,
    /,
    *,
    foreground: Annotated[
        bool, Parameter(name=["--foreground", "-f"], help="Stay, log to the terminal (for systemd).")
    ] = False,
    degraded: Annotated[bool, Parameter(help="Mount although one leg is missing.")] = False,
    options: MountOptionList = [],  # noqa: B006  cyclopts fills a fresh list; None would show in the help
    paths: InjectedPaths,
) -> int:
    """Mount a volume; return when it answers.

    Clears the mount that a killed daemon left behind. As root, every user
    may use the volume as their permissions allow; -o noallow_other keeps it
    to root.

    For example:

        twinfs mount photos
        twinfs mount photos /srv/photos -o noexec,nosuid
    """
    volume = config.load(paths, name)
    chosen = [*options, *(["degraded"] if degraded else [])]
    request = mounting.prepare(paths, volume, mountpoint, parse_options(chosen), say=say)
    done = f"volume {name} is mounted at {request.mountpoint}"
    if foreground:
        from twinfs.daemon import process

        def on_ready(*notes: str) -> None:
            for line in (*notes, done):
                say(line)

        process.serve(paths, request, on_ready, is_foreground=True)
    else:
        mounting.start(paths, request, say=say)
        say(done)
    return 0
