"""The secondary's coming and going: opened, failed, looked for again, back."""

from __future__ import annotations

import contextlib
import os

from twinfs.errors import LegError, LegNotMountedError, WrongDiskError
from twinfs.fsio.tree import remove_tree
from twinfs.mirror.copier import TEMPORARY
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
            # Should the primary refuse even that, the intent log still knows what is pending.
            with contextlib.suppress(OSError):
                primary.write_label(is_in_use=True, events=primary.label.events + 1)

    async def look_again(self, core: Core, primary: Leg) -> bool:
        """After a failure: open it anew, because a disk that fell off comes back as another mount.

        True when it is there and ours. The caller holds the drainer's lock: nobody else may be using
        the old descriptors.
        """
        config = self._config
        try:
            leg = await core.lane.run(lambda: Leg.open(Role.SECONDARY, config.secondary, config.volume_id))
        except LegError as error:
            self.state = LegState.WRONG_DISK if isinstance(error, WrongDiskError) else LegState.MISSING
            return False
        try:
            check_partners(primary.label, leg.label)
            was_cut_off = leg.label.boot_id != ""
            await core.lane.run(lambda: leg.write_label(is_in_use=True))
            await core.lane.run(lambda: clean_temporaries(leg.fd))
        except (LegError, OSError) as error:
            self.state = LegState.WRONG_DISK if isinstance(error, LegError) else LegState.FAULTY
            leg.close()
            return False
        let_go_of_open_files(core)
        await core.lane.run(lambda: core.applier.use(leg.fd))
        if self.leg is not None:
            with contextlib.suppress(OSError):
                self.leg.close()
        self.leg = leg
        self.state = LegState.STALE
        if was_cut_off:
            # What it had only in its page cache is gone, and the marks of that are cleared.
            core.compare_later(b"", core.distrusted_since_ns)
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
            node.file.close_secondary()
