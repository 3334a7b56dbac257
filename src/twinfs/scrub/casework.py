"""Suspicion by suspicion: examined, judged, repaired where that was asked for, told and remembered."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import trio

from twinfs.errors import LegError
from twinfs.mirror.volume import Volume
from twinfs.model import BadLeg, Mismatch, MismatchKind, ReadMethod, Role
from twinfs.scrub.changes import Changes
from twinfs.scrub.examine import Answer, Examined, Examiner
from twinfs.scrub.judge import Known
from twinfs.scrub.mend import ChangedError
from twinfs.scrub.objects import Objects
from twinfs.scrub.options import Options
from twinfs.scrub.repair import NotRepairedError, Repairer
from twinfs.scrub.runs import Runs
from twinfs.scrub.store import Store
from twinfs.scrub.todo import MOST_TRIES, Links, Suspects, Suspicion

OnMismatch = Callable[[Mismatch], Awaitable[None]]

_AGAIN_SECONDS: Final = 0.1
_OTHER: Final = {Role.PRIMARY: BadLeg.SECONDARY, Role.SECONDARY: BadLeg.PRIMARY}


class Casework:
    """What the suspects of one run turn out to be. `busy` counts those that never held still."""

    def __init__(
        self,
        volume: Volume,
        changes: Changes,
        options: Options,
        store: Store,
        run: int,
        methods: tuple[ReadMethod, ReadMethod],
        on_mismatch: OnMismatch,
    ) -> None:
        self._volume = volume
        self._changes = changes
        self._options = options
        self._store = store
        self._run = run
        self._on_mismatch = on_mismatch
        self._suspects, self._runs, self._objects = Suspects(store), Runs(store), Objects(store)
        links = Links(store)
        core = volume.core
        self._examiner = Examiner(core, methods, self._known, links.was_linked)
        self._repairer = Repairer(core, self._examiner, volume.drain_lock, methods, links.names)
        self.busy = 0

    def look_again_at_findings(self) -> None:
        """Of the part of the run that was done before an interruption."""
        with self._store.transaction():
            for path in self._runs.unrepaired(self._run):
                self._suspects.add(Suspicion(path))

    async def examine_all(self, more: Callable[[], Awaitable[bool]]) -> None:
        """Until nothing is left and `more` says that nothing comes."""
        while True:
            suspicion = self._suspects.next()
            if suspicion is None:
                if not await more() and self._suspects.next() is None:
                    return
                continue
            if suspicion.tries:
                await self._wait(suspicion.tries, more)
            await self._examine(suspicion)

    async def _wait(self, tries: int, more: Callable[[], Awaitable[bool]]) -> None:
        """All that is left was being worked on: give it time, and in batched mode a batch."""
        await trio.sleep(_AGAIN_SECONDS * 2**tries)
        if tries == 1:
            try:
                await self._volume.sync()
            except LegError:
                return  # what could not be copied is busy, then

    async def _examine(self, suspicion: Suspicion) -> None:
        answer = await self._examiner.examine(suspicion)
        if answer is Answer.PENDING:
            await self._put_back(suspicion)
        elif isinstance(answer, Examined):
            await self._found(suspicion, answer)
        else:
            await self._in_thread(lambda: self._suspects.remove(suspicion))

    async def _put_back(self, suspicion: Suspicion) -> None:
        if suspicion.tries + 1 < MOST_TRIES:
            await self._in_thread(lambda: self._suspects.put_back(suspicion))
            return
        self.busy += 1
        await self._in_thread(lambda: self._suspects.remove(suspicion))

    async def _found(self, suspicion: Suspicion, found: Examined) -> None:
        verdict = found.verdict
        mismatch = Mismatch(
            os.fsdecode(suspicion.path), verdict.kind, verdict.bad_leg, repaired=False, detail=verdict.detail
        )
        if self._options.is_repairing:
            try:
                is_equal = await self._repair(found)
            except ChangedError:
                await self._put_back(suspicion)
                return
            except NotRepairedError as error:
                mismatch = replace(mismatch, detail=f"{verdict.detail}; not repaired: {error}")
            else:
                mismatch = replace(mismatch, repaired=is_equal)

        def remember() -> None:
            with self._store.transaction():
                self._runs.found(self._run, suspicion.path, mismatch)
                self._suspects.remove(suspicion)

        await trio.to_thread.run_sync(remember)
        await self._on_mismatch(mismatch)

    async def _repair(self, found: Examined) -> bool:
        bad, prefer = found.verdict.bad_leg, self._options.prefer
        primary, secondary = found.sides
        if bad is BadLeg.UNKNOWN and prefer is not None:
            if primary is not None and secondary is not None and primary == secondary:
                await self._remember(found, 0)
                return True
            bad = _OTHER[prefer]
        is_equal = await self._repairer.repair(found, bad)
        if is_equal:
            await self._remember(found, 1 if bad is BadLeg.PRIMARY else 0)
        return is_equal

    async def _remember(self, found: Examined, good: int) -> None:
        """Both legs are now what the good one was."""
        side, look = found.sides[good], found.looks[good]
        if side is None or look is None or found.verdict.kind is MismatchKind.EXTRA:
            return

        def remember() -> None:
            with self._store.transaction():
                identity = self._objects.id_of(found.suspicion.path)
                row = self._objects.at(found.suspicion.path)
                self._objects.know_metadata(identity, row.ident if row is not None else 0, side.view)
                if side.content is not None:
                    self._objects.know_content(
                        identity,
                        side.content,
                        side.view.size,
                        side.view.mtime_ns,
                        begun_ns=time.time_ns(),
                        is_scrubbed=True,
                    )

        await trio.to_thread.run_sync(remember)

    async def _in_thread(self, call: Callable[[], None]) -> None:
        """The reading process may hold the store for a moment; nobody else should wait for that."""

        def change() -> None:
            with self._store.transaction():
                call()

        await trio.to_thread.run_sync(change)

    def _known(self, path: bytes, ident: int) -> Known | None:
        row = self._objects.at(path)
        if row is None or (row.known.view is None and row.known.content is None):
            return None
        # What the store has not heard of yet makes what it knows worthless.
        return None if self._changes.has_changed(ident or row.ident) else row.known
