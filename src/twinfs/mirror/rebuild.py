"""Comparing everything below a path, while the volume is in use.

Directory by directory: the lane applies what is pending, compares the two listings and makes names and
metadata equal; then the contents that differ are copied. Interrupted, it begins again, and what is equal
by then costs a look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from functools import partial
from typing import Final

import trio

from twinfs.journal.records import Compare, Compared, Rename, parent_of, renamed, touched_by
from twinfs.mirror.chunk import ChunkCopier, Outcome, chunks
from twinfs.mirror.compare import Comparer, Findings, Listing, Place, Trust
from twinfs.mirror.copier import Copy, MovedError, SourceUnreadableError
from twinfs.mirror.core import Core
from twinfs.mirror.failures import UNEXPECTED, is_leg_failure
from twinfs.mirror.following import GONE
from twinfs.mirror.progress import Meter
from twinfs.mirror.sample import Sample
from twinfs.mirror.secondary import let_go_of_open_files
from twinfs.words import count

_LISTING_TRIES: Final = 20
_TROUBLES_KEPT: Final = 100
_NAMES_KEPT: Final = 20

OnEvent = Callable[[str, str], None]


class Rebuilt:
    """What comparisons found: objects looked at, files whose content differed and was copied."""

    def __init__(self) -> None:
        self.sample = Sample()
        self.clear()

    def clear(self) -> None:
        self.files = 0
        self.differing = 0
        self.names: list[bytes] = []
        """Some of those that differed."""
        self.busy: dict[int, bytes] = {}
        """Files that differed because they are written to, by their numbers: their marks say so, and the
        drain copies them after the comparison."""

    def differed(self, copy: Copy, *, is_busy: bool) -> None:
        if is_busy:
            self.busy[copy.ident] = copy.path
            return
        self.differing += 1
        if len(self.names) < _NAMES_KEPT:
            self.names.append(copy.path)


class Rebuild:
    """Works off one `Compare` record."""

    def __init__(
        self, core: Core, copier: ChunkCopier, meter: Meter, on_event: OnEvent, rebuilt: Rebuilt
    ) -> None:
        self._core = core
        self._copier = copier
        self._meter = meter
        self._on_event = on_event
        self._rebuilt = rebuilt
        self._trust = Trust()
        self._places: list[Place] = []
        self._moved: list[Place] = []
        self.troubles: list[tuple[bytes, BaseException]] = []
        """Objects that a leg refused; `put_off` are the records that make them compared another time."""
        self.put_off: set[int] = set()

    async def run(self, number: int, record: Compare, *, is_deleting_excluded: bool) -> None:
        """Make the secondary equal below the record's path, durably, and clear the record."""
        core = self._core
        self._trust = Trust(record.distrust_ns, record.changed_ns, record.is_keeping)
        self._meter.step = "comparing"
        comparer = Comparer(
            core.primary_fd,
            core.applier,
            core.excludes,
            core.nodes.ident_of,
            is_deleting_excluded=is_deleting_excluded,
            is_whole=not record.path,
        )
        core.comparing = number
        let_go_of_open_files(core)
        self._places = [Place(record.path, is_single=bool(record.path))]
        core.applier.followers.update(self._places)
        core.on_moved = self._come_in
        try:
            while self._places or self._moved:
                await self._step(comparer)
        finally:
            core.comparing = 0
            core.on_moved = lambda path: None
            core.applier.followers.difference_update((*self._places, *self._moved))
            comparer.close()
        await core.make_secondary_durable()
        if comparer.has_unknown_links:
            core.compare_later(b"")
        self._put_off_troubles(record)
        core.log.append(number, Compared())
        core.compares.pop(number, None)
        core.compares_since.pop(number, None)
        core.doubts += 1
        if comparer.quarantine.moved:
            moved = count(comparer.quarantine.moved, "object")
            where = f"its quarantine now: {comparer.quarantine.folder}"
            self._on_event("quarantined", f"{moved} that only the secondary had: in {where}")

    def _put_off_troubles(self, record: Compare) -> None:
        core = self._core
        known = set(core.compares)
        paths = [path for path, _ in self.troubles]
        for path in paths if len(paths) <= _TROUBLES_KEPT else [record.path]:
            core.compare_later(path, is_keeping=record.is_keeping)
        self.put_off = set(core.compares) - known

    def _come_in(self, path: bytes) -> None:
        """In the lane. It was moved, perhaps from where nobody has looked yet to where somebody has."""
        if all(known.path != path for known in self._moved):
            self._moved.append(Place(path, is_single=True))
            self._core.applier.followers.add(self._moved[-1])

    def _take_in(self, *next_places: Place) -> None:
        """In the lane, before `next_places` are listed. What was moved is looked at where it is now: once,
        however often it or what leads to it was moved, and only where the comparison does not come anyway. A
        thousand renames that waited for it would else have it go through the same directories for each."""
        moved, self._moved = self._moved, []
        if not moved:
            return
        coming = {place.path for place in (*next_places, *self._places) if not place.is_single}
        singles = {place.path for place in (*next_places, *self._places) if place.is_single}
        above = coming | singles | {place.path for place in moved}
        for place in moved:
            if place.path == GONE or place.path in singles or _is_below_any(place.path, above):
                self._core.applier.followers.discard(place)
            else:
                self._places.append(place)

    async def _step(self, comparer: Comparer) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        core, meter = self._core, self._meter
        if not self._places:
            await core.lane.run(self._take_in)
            return
        place = self._places.pop()
        found = await core.lane.run(partial(self._compare_place, comparer, place))
        if found is None:
            self._places.insert(0, place)
            await trio.sleep(0.05)
            return
        core.applier.followers.discard(place)
        self._places.extend(found.directories)
        self.troubles.extend(found.troubles)
        await self._copy(found.copies)
        directory = parent_of(place.path) if place.is_single else place.path
        # Only now: every name that is made or put in place moves the directory's times.
        applier = core.applier
        refusal = await core.lane.run(lambda: applier.copy_times(core.primary_fd, directory))
        if refusal is not None:
            self.troubles.append((directory, refusal))
        meter.files_done += found.files
        self._rebuilt.files += found.files
        meter.report(place.path)

    def _compare_place(self, comparer: Comparer, place: Place) -> Findings | None:
        """In the lane. None: the directory's names kept changing, try again later."""
        core = self._core
        for _ in range(_LISTING_TRIES):
            number = core.names_number
            if core.is_naming():
                time.sleep(0.001)
                continue
            core.catch_up(number)
            self._take_in(place)
            path = place.path
            if path == GONE:
                return Findings()
            directory = parent_of(path) if place.is_single else path
            core.applier.look_again(directory)
            both = self._look(comparer, place)
            if both is None:
                return Findings()
            if not core.is_naming() and not self._has_changed(directory, number):
                found = comparer.directory(directory, *both, self._trust)
                core.applier.followers.update(found.directories)
                return found
        return None

    def _look(self, comparer: Comparer, place: Place) -> tuple[Listing, Listing] | None:
        """What both legs have there; None where there is nothing to do, now."""
        try:
            return comparer.look(place.path) if place.is_single else comparer.list_both(place.path)
        except SourceUnreadableError as error:
            # Not listed is not empty: what the secondary has there stays.
            self.troubles.append((place.path, error))
            return None
        except OSError as error:
            if error.errno not in UNEXPECTED or not place.path:
                raise
            # The secondary lacks the directory: begin one level up.
            trust = self._trust
            self._core.compare_later(parent_of(place.path), trust.distrust_ns, is_keeping=trust.is_keeping)
            return None

    def _has_changed(self, path: bytes, number: int) -> bool:
        for change in list(self._core.pending):
            if change.number > number:
                names = change.names
                if path in touched_by(names) or (isinstance(names, Rename) and path != renamed(path, names)):
                    return True
        return False

    async def _copy(self, copies: list[Copy]) -> None:
        for chunk in chunks(copies):
            for copy, outcome in zip(chunk, await self._copier.copy(chunk, self._meter), strict=True):
                self._judge(copy, outcome)
            self._meter.report(chunk[-1].path)

    def _judge(self, copy: Copy, outcome: Outcome) -> None:
        """Only a failing secondary ends the comparison; its record stays and begins it again."""
        if outcome is None and not copy.was_equal:
            node = self._core.nodes.get(copy.ident)
            self._rebuilt.differed(copy, is_busy=node is not None and node.stale is not None)
            self._rebuilt.sample.add(copy.path)
        if outcome is None or copy.path == GONE:
            return
        if isinstance(outcome, MovedError | FileNotFoundError):
            # Renamed or linked meanwhile.
            self._core.compare_later(copy.path, is_keeping=self._trust.is_keeping)
            return
        if isinstance(outcome, OSError) and is_leg_failure(outcome):
            raise outcome
        self.troubles.append((copy.path, outcome))


def _is_below_any(path: bytes, places: Container[bytes]) -> bool:
    """Whether it lies below one of them, which may be the root; being one of them is not enough."""
    while path:
        path = parent_of(path)
        if path in places:
            return True
    return False
