"""The secondary's coming and going: opened, failed, looked for again, back."""

from __future__ import annotations

import contextlib
import errno
import os
from functools import partial
from typing import Final

import trio

from twinfs.errors import LegError, LegNotMountedError
from twinfs.fsio.tree import remove_tree
from twinfs.mirror.copier import TEMPORARY
from twinfs.mirror.core import Core
from twinfs.mirror.label import Label, Leg, check_partners
from twinfs.mirror.lane import gave_up
from twinfs.model import LegState, LegStatus, Role, VolumeConfig

_COMING_BACK_SECONDS: Final = 1.0


class Secondary:
    """The leg, or what is known of it while it is away. Changes wait in the intent log meanwhile."""

    def __init__(self, config: VolumeConfig, leg: Leg | None) -> None:
        self._config = config
        self.leg = leg
        self.state = LegState.MISSING if leg is None else LegState.IN_SYNC
        self._is_opening = False

    @staticmethod
    def open(config: VolumeConfig, *, is_needed: bool) -> Secondary:
        """LegError when it cannot be used and `is_needed`, or when it is another disk."""
        try:
            return Secondary(config, Leg.open(Role.SECONDARY, config.secondary, config.volume_id))
        except LegNotMountedError as error:
            if is_needed:
                raise LegNotMountedError(
                    f"{error}\n  Or start without it: twinfs mount --degraded {config.name}"
                ) from error
            return Secondary(config, None)

    @property
    def fd(self) -> int:
        return -1 if self.leg is None else self.leg.fd

    def parted(self, primary: Leg) -> None:
        """The primary goes on alone: its event counter says so, durably, before it matters."""
        if self.leg is not None:
            self.state = LegState.FAULTY
        if self.leg is None or primary.label.events == self.leg.label.events:
            # Should the primary refuse even that, the intent log still knows what is pending.
            with contextlib.suppress(OSError):
                primary.write_label(is_in_use=True, events=primary.label.events + 1)
        # Its descriptor went with the attachment.
        self.leg = None

    async def check(self, core: Core) -> None:
        """OSError when the disk is no longer what it was: unmounted under us, or without its label.

        Without this, an idle volume would hear of it with the next change, perhaps days later.
        """
        if self.leg is not None:
            await core.attachment.call(partial(self._check, self.leg))

    def _check(self, leg: Leg) -> None:
        try:
            present = os.stat(leg.path)
        except FileNotFoundError:
            present = None
        if present is None or not os.path.samestat(present, os.fstat(leg.fd)):
            self.state = LegState.MISSING
            raise OSError(errno.ENODEV, "the disk is not mounted there any more", leg.path)
        if not leg.is_still_labelled():
            raise OSError(errno.ENODEV, "its label is gone", leg.path)

    async def look_again(self, core: Core, primary: Leg) -> bool:
        """After a failure: open it anew, because a disk that fell off comes back as another mount.

        True when it is there and ours. The caller holds the drainer's lock.
        """
        with trio.move_on_after(_COMING_BACK_SECONDS):
            while not core.has_come_back():  # noqa: ASYNC110 - after a failure, and milliseconds
                await trio.sleep(0.005)
        if core.given_up or self._is_opening:
            self.state = LegState.FAULTY
            return False
        try:
            leg = await self._open_patiently(primary)
        except LegError as error:
            self.state = LegState.MISSING if isinstance(error, LegNotMountedError) else LegState.WRONG_DISK
            return False
        except OSError:
            self.state = LegState.FAULTY
            return False
        core.attach(leg.fd)
        self.leg = leg
        self.state = LegState.STALE
        return True

    async def _open_patiently(self, primary: Leg) -> Leg:
        """OSError ETIMEDOUT when the disk hangs: then it is not asked again until it has answered."""
        opened: list[Leg] = []

        def work() -> None:
            try:
                opened.append(self._open(primary.label))
            finally:
                self._is_opening = False

        self._is_opening = True
        with trio.move_on_after(self._config.leg_timeout_seconds):
            await trio.to_thread.run_sync(work, abandon_on_cancel=True)
            return opened[0]
        raise gave_up()

    def _open(self, partner: Label) -> Leg:
        config = self._config
        leg = Leg.open(Role.SECONDARY, config.secondary, config.volume_id)
        try:
            check_partners(partner, leg.label)
            leg.write_label(is_in_use=True)
            clean_temporaries(leg.fd)
        except BaseException:
            leg.close()
            raise
        return leg

    async def caught_up(self, core: Core, primary: Leg) -> None:
        """Everything that it missed is on it: the event counters are equal again."""
        self.state = LegState.IN_SYNC
        leg = self.leg
        if leg is not None and leg.label.events != primary.label.events:
            events = primary.label.events
            await core.attachment.call(lambda: leg.write_label(is_in_use=True, events=events))

    async def end(self, core: Core, *, is_in_use: bool) -> None:
        """At the end of the volume: say on the label how it ended, let go of the disk."""
        for node in core.nodes.open_files():
            if node.file is not None:
                core.close_on_secondary(node.file)
        leg, self.leg = self.leg, None
        if leg is not None:
            with contextlib.suppress(OSError):
                await core.attachment.call(lambda: leg.write_label(is_in_use=is_in_use))
        await core.attachment.close(-1 if leg is None else leg.fd)

    def missing_status(self) -> LegStatus:
        return LegStatus(Role.SECONDARY, self._config.secondary, self.state, 0, 0)

    def close(self) -> None:
        """Before anything was attached; later its descriptor is the attachment's."""
        if self.leg is not None:
            self.leg.close()


def clean_temporaries(root_fd: int) -> None:
    """Remove copies that a kill cut short."""
    fd = os.open(TEMPORARY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        for name in os.listdir(fd):
            remove_tree(fd, os.fsencode(name))
    finally:
        os.close(fd)


def let_go_of_open_files(core: Core) -> None:
    """Before another disk, or another file, may stand where one is open on the secondary: what is marked
    is copied again, and nobody writes through an old descriptor.

    Closed only where no write can be on its way: the number of a closed descriptor is used again.
    """
    for node in core.stale.values():
        if node.stale is not None:
            node.stale.is_behind = True
    for node in core.nodes.open_files():
        if node.stale is None and node.file is not None:
            core.close_on_secondary(node.file)
