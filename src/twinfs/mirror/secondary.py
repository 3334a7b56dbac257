"""The secondary's coming and going: opened, failed, looked for again, back."""

from __future__ import annotations

import contextlib
import errno
import os
from functools import partial
from typing import Final

import trio

from twinfs.errors import (
    DamagedLabelError,
    LabelGoneError,
    LegError,
    LegNotMountedError,
    SplitBrainError,
    WrongDiskError,
)
from twinfs.fsio.tree import remove_tree
from twinfs.mirror.core import Core
from twinfs.mirror.failures import is_full
from twinfs.mirror.folders import TEMPORARY
from twinfs.mirror.label import LabelChange, Leg
from twinfs.mirror.lane import gave_up
from twinfs.mirror.legs import check_partners, path_of
from twinfs.mirror.parting import goes_on_alone
from twinfs.model import LegState, LegStatus, Role, VolumeConfig

_COMING_BACK_SECONDS: Final = 1.0
_SPACE_PATIENCE_SECONDS: Final = 1.0

_Opened = tuple[Leg, bool, os.statvfs_result]
"""A leg that came back, whether it was the primary, and its space."""


class Secondary:
    """The leg that follows, or what is known of it while it is away: changes wait in the intent log.

    `place` is where the settings say that its disk is; after a promotion that is the primary's.
    """

    def __init__(self, config: VolumeConfig, place: Role, leg: Leg | None) -> None:
        self._config = config
        self.place = place
        self.path = path_of(config, place)
        self.leg = leg
        self._space = None if leg is None else os.fstatvfs(leg.fd)
        self.state = LegState.MISSING if leg is None else LegState.IN_SYNC
        self.problem = ""
        """Why it was not taken back, in words, when a person has to do something about it."""
        self.is_detached = False
        self._is_opening = False
        self._session = ""
        """Of the leg that went away, where it was seen going: what comes back must be that."""

    @property
    def space(self) -> os.statvfs_result | None:
        """As it was seen last."""
        return self._space

    @property
    def fd(self) -> int:
        return -1 if self.leg is None else self.leg.fd

    def parted(self, primary: Leg) -> OSError | None:
        """The primary goes on alone: its label says so, durably, before it matters. Why it refuses, if so:
        the intent log still knows what is pending."""
        if self.leg is not None:
            self.state = LegState.FAULTY
            self._session = self.leg.label.session
            # Its descriptor went with the attachment.
            self.leg = None
        if not primary.label.is_alone:
            try:
                primary.write_label(is_in_use=True, change=goes_on_alone(primary.label))
            except OSError as error:
                return error
        return None

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
        try:
            is_labelled = leg.is_still_labelled()
        except LegError as error:
            raise OSError(errno.EIO, str(error).partition("\n")[0]) from error
        if not is_labelled:
            raise OSError(errno.ENODEV, "its label is gone", leg.path)

    async def look_again(self, core: Core, primary: Leg) -> bool:
        """After a failure: open it anew, because a disk that fell off comes back as another mount.

        True when it is there and ours. The caller holds the drainer's lock.
        """
        if self.is_detached:
            return False
        with trio.move_on_after(_COMING_BACK_SECONDS):
            while not core.has_come_back():  # noqa: ASYNC110 - after a failure, and milliseconds
                await trio.sleep(0.005)
        if core.given_up or self._is_opening:
            self.state = LegState.FAULTY
            return False
        self.problem = ""
        try:
            leg, was_primary, space = await self._open_patiently(primary)
        except LegNotMountedError as error:
            self.state = LegState.MISSING
            if isinstance(error, LabelGoneError):
                self.problem = str(error)
            return False
        except (WrongDiskError, SplitBrainError) as error:
            self.state, self.problem = LegState.WRONG_DISK, str(error)
            return False
        except DamagedLabelError as error:
            self.state, self.problem = LegState.FAULTY, str(error)
            return False
        except (LegError, OSError):
            self.state = LegState.FAULTY
            return False
        core.attach(leg.fd, leg.device)
        self.leg = leg
        self._space = space
        self.state = LegState.STALE
        is_other = self._session != "" and leg.label.session != self._session
        if was_primary or is_other:
            # It may hold what never reached the one that went on: that must not be lost. Or it is an older
            # copy of the disk, which lacks more than the log says.
            core.compare_later(b"", core.distrusted_since_ns, is_keeping=True)
        return True

    async def _open_patiently(self, primary: Leg) -> _Opened:
        """OSError ETIMEDOUT when the disk hangs: then it is not asked again until it has answered."""
        opened: list[_Opened] = []

        def work() -> None:
            try:
                opened.append(self._open(primary))
            finally:
                self._is_opening = False

        self._is_opening = True
        with trio.move_on_after(self._config.leg_timeout_seconds):
            await trio.to_thread.run_sync(work, abandon_on_cancel=True)
            return opened[0]
        raise gave_up()

    def _open(self, primary: Leg) -> _Opened:
        leg = Leg.open(self.place, self.path, self._config.volume_id)
        try:
            check_partners(self._config, primary, leg)
            was_primary = leg.role is Role.PRIMARY
            try:
                # From here on it is no primary any more, whatever interrupts what follows.
                leg.write_label(is_in_use=True, change=LabelChange(role=Role.SECONDARY, is_alone=False))
            except OSError as error:
                # A full disk must come back all the same, or nothing could be deleted there any more.
                if was_primary or not is_full(error):
                    raise
            clean_temporaries(leg.fd)
            return leg, was_primary, os.fstatvfs(leg.fd)
        except BaseException:
            leg.close()
            raise

    def is_known_equal(self, primary: Leg) -> bool:
        """Whether the labels say already that it has everything."""
        is_same = self.leg is not None and self.leg.label.events == primary.label.events
        return is_same and not primary.label.is_alone

    async def caught_up(self, core: Core, primary: Leg) -> bool:
        """Everything that it missed is on it: the event counters are equal again. First on this leg: a
        kill in between leaves one that was alone, and one that has all the same. True when it is news."""
        if self.is_detached:
            return False
        self.state = LegState.IN_SYNC
        leg = self.leg
        if leg is None or self.is_known_equal(primary):
            return False
        if leg.label.events != primary.label.events:
            change = LabelChange(events=primary.label.events, session=primary.label.session)
            try:
                await core.attachment.call(lambda: leg.write_label(is_in_use=True, change=change))
            except OSError as error:
                if is_full(error):
                    return False  # another time: until then it only looks as if it lacked something
                raise
        if primary.label.is_alone:
            together = partial(primary.write_label, is_in_use=True, change=LabelChange(is_alone=False))
            try:
                await trio.to_thread.run_sync(together)
            except OSError:
                return False  # the primary's trouble: until it takes that, they look as if they had parted
        return True

    async def detach(self, core: Core, primary: Leg) -> None:
        """Let go of the disk on purpose, with all that it has. First the label of the leg that stays: a
        kill after it leaves a secondary that is known to be away."""
        change = LabelChange(is_detached=True)
        if not primary.label.is_alone:
            change |= goes_on_alone(primary.label)
        # From here on nobody says that it has caught up: the labels are to say that they part.
        self.is_detached = True
        try:
            await trio.to_thread.run_sync(partial(primary.write_label, is_in_use=True, change=change))
        except BaseException:
            self.is_detached = False
            raise
        leg, self.leg = self.leg, None
        self._session = "" if leg is None else leg.label.session
        self.state = LegState.MISSING
        if leg is not None and core.is_secondary_up:
            with contextlib.suppress(OSError):
                await core.attachment.call(lambda: leg.write_label(is_in_use=False))
        core.let_go_of_secondary()
        with trio.move_on_after(_COMING_BACK_SECONDS):
            while not core.has_come_back():  # noqa: ASYNC110 - as above
                await trio.sleep(0.005)

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

    async def look_at_space(self, core: Core) -> None:
        """Bring `status` up to date on free space, unless the disk is slow to answer, or asleep."""
        leg = self.leg
        if leg is None or not core.is_secondary_up:
            return
        if core.is_secondary_asleep:
            self._space = core.second_space or self._space
            return
        job = core.attachment.start(lambda: os.fstatvfs(leg.fd))
        with trio.move_on_after(_SPACE_PATIENCE_SECONDS):
            while not job.is_done:  # noqa: ASYNC110 - `wait` would wait for a disk that hangs
                await trio.sleep(0.001)
            with contextlib.suppress(OSError):
                self._space = await job.wait()

    def status(self, state: LegState) -> LegStatus:
        """`state` as long as it is attached."""
        if self.leg is None or self._space is None:
            return LegStatus(Role.SECONDARY, self.path, self.state, 0, 0)
        space = self._space
        return LegStatus(
            Role.SECONDARY,
            self.path,
            state,
            space.f_blocks * space.f_frsize,
            space.f_bavail * space.f_frsize,
        )

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
