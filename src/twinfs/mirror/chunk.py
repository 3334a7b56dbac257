"""A chunk of copies on its way: begun in the lane, transferred in threads, finished in the lane."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import trio

from twinfs.mirror.attachment import Attachment
from twinfs.mirror.copier import Copy, MovedError, SourceUnreadableError
from twinfs.mirror.core import Core
from twinfs.mirror.failures import is_full
from twinfs.mirror.lane import gave_up
from twinfs.mirror.progress import Meter

CHUNK_OBJECTS: Final = 128
CHUNK_BYTES: Final = 64 * 1024 * 1024
_PARALLEL_COPIES: Final = 4

Outcome = BaseException | None
"""Why an object was not copied; None when it was."""


def chunks(copies: Sequence[Copy]) -> Iterator[list[Copy]]:
    """In pieces that are not long to do again when something comes between."""
    chunk: list[Copy] = []
    size = 0
    for copy in copies:
        if chunk and (len(chunk) >= CHUNK_OBJECTS or size + copy.size > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(copy)
        size += copy.size
    if chunk:
        yield chunk


class ChunkCopier:
    """Copies objects of one core, a chunk at a time."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def copy(self, copies: Sequence[Copy], meter: Meter) -> list[Outcome]:
        """An outcome for each. The changes of names there are when this is called are applied first.

        Files that replace an old one are durable before they do. Where there is no room, versions give way.
        """
        outcomes = await self._copy(copies, meter)
        while full := [index for index, outcome in enumerate(outcomes) if _is_full(outcome)]:
            if not await self._core.lane.run(self._core.applier.keeper.make_room):
                break
            again = await self._copy([copies[index] for index in full], meter)
            for index, outcome in zip(full, again, strict=True):
                outcomes[index] = outcome
        return outcomes

    async def _copy(self, copies: Sequence[Copy], meter: Meter) -> list[Outcome]:
        # What is begun is waited for, whatever happens; between two chunks is where to stop.
        await trio.lowlevel.checkpoint_if_cancelled()
        core, attachment = self._core, self._core.attachment
        applier = attachment.applier
        number = core.names_number
        outcomes: list[Outcome] = [None] * len(copies)

        def begin() -> None:
            core.catch_up(number)
            for index, copy in enumerate(copies):
                outcomes[index] = _attempt(partial(copy.begin, core.primary_fd, applier))

        def finish() -> None:
            for index, copy in enumerate(copies):
                if outcomes[index] is None:
                    outcomes[index] = _attempt(partial(copy.finish, applier))
                else:
                    copy.abandon(applier)

        def abandon() -> None:
            for copy in copies:
                copy.abandon(applier)

        try:
            await attachment.lane.run(begin)
            await self._transfer(attachment, copies, outcomes, meter)
            if any(copy.is_replacement for copy in copies):
                await core.make_secondary_durable()
        except BaseException:
            if attachment.is_given_up:
                attachment.afterwards(abandon)
            else:
                with trio.CancelScope(shield=True):
                    await attachment.lane.run(abandon)
            raise
        with trio.CancelScope(shield=True):
            await attachment.lane.run(finish)
        return outcomes

    async def _transfer(
        self, attachment: Attachment, copies: Sequence[Copy], outcomes: list[Outcome], meter: Meter
    ) -> None:
        async with trio.open_nursery() as nursery:
            for first in range(_PARALLEL_COPIES):
                share = range(first, len(copies), _PARALLEL_COPIES)
                if share:
                    work = partial(_transfer_share, copies, outcomes, share, meter)
                    nursery.start_soon(_work, attachment, work)
        if attachment.is_given_up:
            raise gave_up()


def _is_full(outcome: Outcome) -> bool:
    return isinstance(outcome, OSError) and is_full(outcome)


async def _work(attachment: Attachment, work: Callable[[], None]) -> None:
    # It raises only when it was given up, and then all were.
    with contextlib.suppress(OSError):
        await attachment.call(work)


def _transfer_share(
    copies: Sequence[Copy], outcomes: list[Outcome], indices: Sequence[int], meter: Meter
) -> None:
    for index in indices:
        if outcomes[index] is None:
            outcomes[index] = _attempt(partial(copies[index].transfer, meter.count_bytes))


def _attempt(call: Callable[[], None]) -> Outcome:
    try:
        call()
    except (OSError, MovedError, SourceUnreadableError) as error:
        return error
    return None
