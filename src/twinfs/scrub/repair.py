"""Repairs on a volume that may be in use: when a mend may be put in place, and who has to be told.

On the secondary, in its lane, while writers to that file wait. On the primary, where people look at the file
itself, between two awaits, and only while nobody has it open: a program that goes on writing into the
replaced file would lose what it writes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import trio

from twinfs.mirror.core import Core
from twinfs.mirror.nodes import Node
from twinfs.mirror.state import Mended
from twinfs.model import BadLeg, ReadMethod, Role
from twinfs.scrub.build import CopyFailedError
from twinfs.scrub.examine import Examined, Examiner, Looks
from twinfs.scrub.losers import Losers
from twinfs.scrub.mend import ChangedError, Mend
from twinfs.scrub.views import look


class NotRepairedError(Exception):
    """Why a mismatch stays."""


class Repairer:
    """Mends one mismatch at a time. `drain_lock` keeps batches away meanwhile; `names` gives all names of a
    hard-linked file."""

    def __init__(
        self,
        core: Core,
        examiner: Examiner,
        drain_lock: trio.Lock,
        methods: tuple[ReadMethod, ReadMethod],
        names: Callable[[bytes], list[bytes]],
    ) -> None:
        self._core = core
        self._examiner = examiner
        self._drain_lock = drain_lock
        self._methods = methods
        self._names = names
        primary, secondary = examiner.roots
        self.losers = {
            BadLeg.PRIMARY: Losers(primary, Role.PRIMARY),
            BadLeg.SECONDARY: Losers(secondary, Role.SECONDARY),
        }

    async def repair(self, found: Examined, bad: BadLeg) -> bool:
        """Whether both legs are equal afterwards. ChangedError: examine it again. NotRepairedError."""
        if bad is BadLeg.UNKNOWN:
            raise NotRepairedError("it is not known which copy is right; choose one with --prefer")
        if found.looks == (None, None):
            raise NotRepairedError("the disk does not even say what is there; look at it with fsck")
        method = self._methods[0 if bad is BadLeg.PRIMARY else 1]
        path = found.suspicion.path
        mend = Mend(
            found,
            bad,
            self._examiner.roots,
            method,
            self.losers[bad],
            lambda below, is_directory: self._core.is_excluded(below, is_directory=is_directory),
            self._names(path),
        )
        try:
            await self._core.attachment.call(mend.prepare)
            async with self._drain_lock:
                if bad is BadLeg.PRIMARY:
                    await self._place_on_primary(mend, found.looks)
                else:
                    await self._place_on_secondary(mend, found.looks)
        except (OSError, CopyFailedError) as error:
            raise NotRepairedError(str(error)) from error
        finally:
            with trio.CancelScope(shield=True):
                await self._abandon(mend)
        try:
            return await self._core.lane.run(mend.finish)
        except OSError as error:
            raise NotRepairedError(str(error)) from error

    async def _abandon(self, mend: Mend) -> None:
        """What stays on a disk that has failed is removed by the next repair."""
        with contextlib.suppress(OSError):
            await self._core.attachment.call(mend.abandon)

    async def _place_on_secondary(self, mend: Mend, looks: Looks) -> None:
        core = self._core
        if self._examiner.is_moving(mend.path, looks):
            raise ChangedError
        node = self._examiner.node_of(looks[0])
        released = trio.Event()
        if node is not None:
            # No await from the check above: whoever writes from now on waits, nobody is writing.
            if core.holds.setdefault(node.ident, released) is not released:
                raise ChangedError  # somebody else is at work on that file
            if node.file is not None:
                core.close_on_secondary(node.file)
        number = core.names_number

        def place() -> None:
            core.catch_up(number)
            mend.require_good_unchanged()
            mend.place()
            core.applier.forget(mend.path)

        try:
            await core.lane.run(place)
        finally:
            core.doubts += 1  # it may have been opened there since
            if node is not None and core.holds.get(node.ident) is released:
                del core.holds[node.ident]
            released.set()

    async def _place_on_primary(self, mend: Mend, looks: Looks) -> None:
        """What is on the primary is what people see. No await between the checks and the end.

        The secondary is asked before: it may hang, and only the volume itself changes it.
        """
        await self._core.attachment.call(mend.require_good_unchanged)
        if self._examiner.is_moving(mend.path, looks):
            raise ChangedError
        places = [self._place(path) for path in (mend.path, *mend.other_names)]
        if not mend.is_metadata_only:
            for _, _, node in places:
                _require_unused(node)
        mend.place()
        self._forget_nodes(mend, places)
        told = [
            Mended(parent.ident, name, node.ident if node else 0) for parent, name, node in places if parent
        ]
        if told:
            await trio.to_thread.run_sync(self._core.on_primary_mended, told)

    def _place(self, path: bytes) -> tuple[Node | None, bytes, Node | None]:
        """(directory, name, object) as far as they are known to anybody."""
        nodes = self._core.nodes
        node: Node | None = nodes.root
        parent: Node | None = None
        name = b""
        root = self._core.primary_fd
        for end in _ends(path):
            parent, name = node, path[:end].rpartition(b"/")[2]
            found = look(root, path[:end])
            node = None if found is None else nodes.get(nodes.ident_of(found.status))
        return parent, name, node

    def _forget_nodes(self, mend: Mend, places: list[tuple[Node | None, bytes, Node | None]]) -> None:
        """The replaced file has these names no more: it lives on in quarantine, and for whoever has it."""
        if mend.is_metadata_only:
            return
        for parent, name, node in places:
            if parent is not None and node is not None and self._is_other_now(parent, name, node):
                self._core.nodes.forget_name(node, parent, name, is_last=True)

    def _is_other_now(self, parent: Node, name: bytes, node: Node) -> bool:
        nodes = self._core.nodes
        try:
            status = os.stat(name, dir_fd=nodes.directory(parent), follow_symlinks=False)
        except FileNotFoundError:
            return True
        return nodes.ident_of(status) != node.ident


def _require_unused(node: Node | None) -> None:
    if node is not None and node.file is not None:
        raise NotRepairedError("a program has it open; close that, or unmount the volume, and scrub again")
    if node is not None and node.is_directory:
        raise NotRepairedError("a directory in its place is in use; unmount the volume, and scrub again")


def _ends(path: bytes) -> list[int]:
    """Where each component of the path ends."""
    return [
        index for index in range(1, len(path) + 1) if index == len(path) or path[index : index + 1] == b"/"
    ]
