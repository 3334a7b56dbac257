"""`twinfs umount`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import InjectedPaths
from twinfs.cli.progress import ProgressDisplay
from twinfs.cli.talk import say
from twinfs.daemon import unmounting


def umount(
    target: Annotated[str, Parameter(name="NAME|MOUNTPOINT", help="The volume, or where it is mounted.")],
    /,
    *,
    paths: InjectedPaths,
) -> int:
    """Unmount a volume and bring its secondary up to date.

    Returns when the secondary has everything. If somebody still uses the
    volume, tells who.

    For example:

        twinfs umount photos
        twinfs umount /mnt/hd1
    """
    with ProgressDisplay() as display:
        try:
            unmounting.unmount(paths, target, on_progress=display, say=say)
        except KeyboardInterrupt:
            say("the daemon goes on by itself; look with: twinfs status")
            raise
    say(f"{target} is unmounted")
    return 0
