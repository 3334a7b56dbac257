"""The secondary's coming and going: opened, failed, looked for again, back."""

from __future__ import annotations

import contextlib

from twinfs.errors import LegError, LegNotMountedError, WrongDiskError
from twinfs.mirror.core import Core
from twinfs.mirror.label import Leg, check_partners
from twinfs.model import LegState, LegStatus, Role, VolumeConfig


class Secondary:
    """The leg, or what is known of it while it is away. Changes wait in the intent log meanwhile."""

    def __init__(self, config: VolumeConfig, leg: Leg | None) -> None:
        self._config = config
        self.leg = leg
        self.state = LegState.MISSING if leg is None else LegState.IN_SYNC

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
            primary.write_label(is_in_use=True, events=primary.label.events + 1)

    async def look_again(self, core: Core, primary: Leg) -> bool:
        """After a failure: open it anew, because a disk that fell off comes back as another mount.

        True when it is there and ours. Its descriptors of before are let go of.
        """
        config = self._config
        try:
            leg = await core.lane.run(lambda: Leg.open(Role.SECONDARY, config.secondary, config.volume_id))
        except LegError as error:
            self.state = LegState.WRONG_DISK if isinstance(error, WrongDiskError) else LegState.MISSING
            return False
        try:
            check_partners(primary.label, leg.label)
            await core.lane.run(lambda: leg.write_label(is_in_use=True))
        except (LegError, OSError) as error:
            self.state = LegState.WRONG_DISK if isinstance(error, LegError) else LegState.FAULTY
            leg.close()
            return False
        for node in core.nodes.open_files():
            if node.file is not None:
                node.file.close_secondary()
        await core.lane.run(lambda: core.applier.use(leg.fd))
        if self.leg is not None:
            with contextlib.suppress(OSError):
                self.leg.close()
        self.leg = leg
        self.state = LegState.STALE
        return True

    def caught_up(self, primary: Leg) -> None:
        """Everything that it missed is on it: the event counters are equal again."""
        self.state = LegState.IN_SYNC
        if self.leg is not None and self.leg.label.events != primary.label.events:
            self.leg.write_label(is_in_use=True, events=primary.label.events)

    def missing_status(self) -> LegStatus:
        return LegStatus(Role.SECONDARY, self._config.secondary, self.state, 0, 0)

    def close(self) -> None:
        if self.leg is not None:
            self.leg.close()
