"""What is raised on purpose; exit codes as in twinfs.errors."""

from __future__ import annotations

from twinfs.errors import TwinfsError, UsageError


class QemuError(TwinfsError):
    """QEMU or one of its tools failed; the message has its words."""


class RefusedError(UsageError):
    """It would overwrite, or use twice, what is in use: the message names it and what to do."""


class NotRunningError(TwinfsError):
    """No machine of that name runs."""

    exit_code = 4


class NetError(TwinfsError):
    """The network could not be set up, or not be taken down."""


class Interrupted(QemuError):
    """Ctrl-C, SIGTERM or SIGHUP."""

    exit_code = 130
