"""Every failure twinfs raises on purpose.

The class carries the exit code of the command that ends with it; the message says what, where and
what next. Errnos for callers of the mounted volume are made in one other place, `fuse/`.

Exit codes are promised in docs/interface.md: 0 done, 1 failed, 2 usage, 3 degraded, 4 not mounted.
"""


class TwinfsError(Exception):
    """Base of everything raised on purpose."""

    exit_code = 1


class UsageError(TwinfsError):
    """The command line or the configuration asks for something that cannot be."""

    exit_code = 2


class ConfigError(UsageError):
    """A volume's TOML is missing, unreadable or says something unknown."""


class UnknownVolumeError(UsageError):
    """No volume of that name (or mountpoint) is configured."""


class NotMountedError(TwinfsError):
    """The command needs the volume's daemon, and none answers."""

    exit_code = 4


class AlreadyMountedError(TwinfsError):
    """Another daemon serves this volume."""


class MountError(TwinfsError):
    """The kernel or fusermount3 refused the mount, or the daemon died before it answered."""


class BusyError(TwinfsError):
    """A mount cannot be taken down because somebody uses it."""


class LegError(TwinfsError):
    """Base of what can be wrong with a leg's directory or disk."""


class LegNotMountedError(LegError):
    """The directory has no label: the disk is not mounted there, or was never initialised."""


class LabelGoneError(LegNotMountedError):
    """The directory has no label, but files: perhaps the leg's own, and only its label was removed."""


class LegFaultyError(LegError):
    """The disk is there, and answers with the errors that disks give."""


class WrongDiskError(LegError):
    """A label of another volume or leg, or another file system than last time."""


class DamagedLabelError(LegFaultyError):
    """A leg's label is there and says nothing: its disk has lost it, or somebody wrote over it."""


class LegInUseError(LegError):
    """The directory already belongs to a volume, or holds files where none were expected."""


class SplitBrainError(LegError):
    """Each leg was changed without the other."""


class DeletionsHeldError(LegError):
    """A batch would delete more of the secondary than `max_delete` or `max_delete_files` let it."""


class StateError(TwinfsError):
    """The state directory (intent log) cannot be used."""


class ControlError(TwinfsError):
    """The daemon answered a control request with a failure of its own."""


class ScrubError(TwinfsError):
    """A scrub could not run, or not to its end."""

    exit_code = 8


class ImageError(TwinfsError):
    """A disk image, or a part of it, cannot be read: the message names the layer and the offset."""


class VersionError(TwinfsError):
    """There is no such version, or it cannot be restored: the message says why."""


class QuarantineError(TwinfsError):
    """There is no such object in quarantine, or it cannot be put where it was asked to be."""
