"""`twinfs sync`."""

from __future__ import annotations

from twinfs.cli.draining import drain
from twinfs.cli.parameters import AllowDeletes, InjectedPaths, Json, VolumeName


def sync(
    name: VolumeName, /, *, allow_deletes: AllowDeletes = False, json: Json = False, paths: InjectedPaths
) -> int:
    """Bring the secondary up to date now, and wait for it.

    When it ends well, both legs hold everything that was written before,
    durably. Works on a volume that is not mounted as well.

    Where that would delete more of the secondary than max_delete and
    max_delete_files let it, nothing is done until it is allowed.

    For example:

        twinfs sync photos
        twinfs sync photos --allow-deletes
    """
    return drain(paths, name, allow_deletes=allow_deletes, json=json)
