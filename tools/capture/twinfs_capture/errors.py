"""What a capture raises on purpose; exit codes as in twinfs.errors."""

from __future__ import annotations

from twinfs.errors import TwinfsError, UsageError


class CaptureError(TwinfsError):
    """The capture failed; what was read until then stays."""


class RefusedError(UsageError):
    """It would overwrite, or capture, something that is in use: the message names it and the option."""


class SourceGoneError(CaptureError):
    """The device went away: not a bad sector, and nothing more can be read."""


class SourceShrankError(CaptureError):
    """The source ended before its size."""


class Interrupted(CaptureError):
    """Ctrl-C, SIGTERM or SIGHUP. What was read is in the image and in the map."""

    exit_code = 130
