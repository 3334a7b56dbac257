"""A script that repairs planted faults, for processes that die on the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twinfs.fsio.uncached import method_of
from twinfs.model import Mismatch, Role
from twinfs.scrub.casework import Casework
from twinfs.scrub.changes import Changes
from twinfs.scrub.leftovers import remove_leftovers
from twinfs.scrub.objects import Objects
from twinfs.scrub.options import Options
from twinfs.scrub.plan import Plan
from twinfs.scrub.runs import Runs
from twinfs.scrub.store import FILE_NAME, Store
from twinfs.scrub.todo import Links, Suspects, Suspicion
from twinfs.scrub.views import look
from unit.mirror.kit import User

PATHS = (b"a", b"twin", b"b", b"link", b"e", b"shared", b"d/deep", b"d/foreign")


def plant(leg: Path, *, is_secondary: bool) -> dict[str, bytes]:
    """Make one leg bad; returns the contents that no repair may lose, by where they were."""
    (leg / "a").write_bytes(b"A" * 7000)
    (leg / "twin").write_bytes(b"T" * 100)  # and d/twin, which is the same file
    (leg / "b").unlink()
    (leg / "link").unlink()
    (leg / "link").symlink_to("elsewhere")
    (leg / "e").rmdir()
    (leg / "e").write_bytes(b"a file in the place of a directory")
    (leg / "shared").chmod(0o700)
    shutil.rmtree(leg / "d/deep")
    kept = {"a": b"A" * 7000, "twin": b"T" * 100, "e": b"a file in the place of a directory"}
    if is_secondary:
        (leg / "d/foreign").write_bytes(b"foreign")
        kept["d/foreign"] = b"foreign"
    return kept


async def mend_secondary(user: User) -> None:
    await _mend(user, Role.PRIMARY)


async def mend_primary(user: User) -> None:
    await _mend(user, Role.SECONDARY)


async def _mend(user: User, prefer: Role) -> None:
    volume = user.volume
    core = volume.core
    roots = core.primary_fd, core.applier.root_fd
    for root in roots:
        remove_leftovers(root)
    directory = Path(os.readlink(f"/proc/self/fd/{core.log._fd}")).parent
    store = Store(directory / FILE_NAME)
    methods = method_of(roots[0]), method_of(roots[1])
    run, _ = Runs(store).begin("full", methods)
    changes = Changes(directory, lambda ident: False)

    async def on_mismatch(mismatch: Mismatch) -> None:
        assert mismatch.repaired, mismatch

    async def no_more() -> bool:
        return False

    with store.transaction():
        statuses = [[os.stat(name, dir_fd=root) for root in roots] for name in (b"twin", b"d/twin")]
        Links(store).clear()
        for path, (primary, secondary) in zip((b"twin", b"d/twin"), statuses, strict=True):
            Links(store).see(path, 0, 0, primary, secondary)
        good = roots[0 if prefer is Role.PRIMARY else 1]
        for path in (b"b", b"d/deep"):
            # Or what only the secondary has would be foreign there.
            found = look(good, path)
            assert found is not None
            objects = Objects(store)
            objects.know_metadata(objects.id_of(path), 0, found.view)
        for path in PATHS:
            Suspects(store).add(Suspicion(path))
    options = Options(Plan.parse("full"), is_repairing=True, prefer=prefer)
    work = Casework(volume, changes, options, store, run, methods, on_mismatch)
    await work.examine_all(no_more)
    store.close()
