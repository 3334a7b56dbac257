"""What goes over a volume's control socket: one JSON object a line, in both directions.

A request is answered by any number of `progress` lines (sync, wait, scrub) and `mismatch` lines (scrub),
and one last line: `status`, `legs`, `tested`, `scrubbed`, `done` or `error`. The connection may then carry
the next request.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from twinfs.model import (
    BadLeg,
    ChannelTest,
    Held,
    LegStatus,
    Mismatch,
    MismatchKind,
    Mode,
    Order,
    Pending,
    Progress,
    PutAside,
    Role,
    ScrubRun,
    ScrubSummary,
    Survey,
    VolumeState,
    VolumeStatus,
)
from twinfs.report.plain_text import readable

MAX_LINE_BYTES = 1 << 16


class StatusRequest(msgspec.Struct, tag="status", tag_field="type", frozen=True):
    """Answered by `status`."""


class SyncRequest(msgspec.Struct, tag="sync", tag_field="type", frozen=True):
    """Drain the log now; progress, then `done` when the secondary holds everything durably.
    `allow_deletes`: also where the brake holds."""

    allow_deletes: bool = False


class SetModeRequest(msgspec.Struct, tag="set_mode", tag_field="type", frozen=True):
    """Change when the secondary gets a change, from now on; `done`."""

    mode: Mode
    interval_seconds: float | None = None
    at: str | None = None


class RecoverRequest(msgspec.Struct, tag="recover", tag_field="type", frozen=True):
    """One of the ways back; progress, then `recovered`. With `is_dry_run` only what it would do."""

    order: Order
    is_dry_run: bool = False


class WaitRequest(msgspec.Struct, tag="wait", tag_field="type", frozen=True):
    """Wait for the daemon to end: `waiting` at once, progress of the drain after the unmount, then `done`."""


class ScrubRequest(msgspec.Struct, tag="scrub", tag_field="type", frozen=True):
    """Compare both disks; progress and a `mismatch` for each, then `scrubbed`. A client that goes away
    interrupts it. `max_rate` is bytes a second of each leg, 0 for no limit."""

    plan: str
    repair: bool = False
    prefer: Role | None = None
    max_rate: float = 0.0


class TestEventsRequest(msgspec.Struct, tag="test_events", tag_field="type", frozen=True):
    """Send one event through every channel; answered by `tested` when each has done what it does."""


class LegsRequest(msgspec.Struct, tag="legs", tag_field="type", frozen=True):
    """Where the daemon has the legs that it uses; answered by `legs`."""


Request: TypeAlias = (
    StatusRequest
    | LegsRequest
    | SyncRequest
    | SetModeRequest
    | RecoverRequest
    | WaitRequest
    | TestEventsRequest
    | ScrubRequest
)


class StatusReply(msgspec.Struct, tag="status", tag_field="type", frozen=True):
    """`VolumeStatus`, field by field: docs/interface.md promises these names."""

    volume: str
    pid: int | None
    state: VolumeState
    mode: Mode
    mountpoint: str | None
    legs: tuple[LegStatus, ...]
    pending: Pending
    last_scrub: ScrubSummary | None
    action: str | None
    unreached: tuple[str, ...] = ()
    versions: Held | None = None
    quarantine: PutAside = PutAside()

    def to_status(self) -> VolumeStatus:
        return VolumeStatus(**{field: getattr(self, field) for field in self.__struct_fields__})

    @classmethod
    def from_status(cls, status: VolumeStatus) -> StatusReply:
        return cls(**{field: getattr(status, field) for field in cls.__struct_fields__})


class ProgressReply(msgspec.Struct, tag="progress", tag_field="type", frozen=True):
    """Where a long operation is; at most a few a second."""

    step: str
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    current: str

    def to_progress(self) -> Progress:
        return Progress(**{field: getattr(self, field) for field in self.__struct_fields__})

    @classmethod
    def from_progress(cls, progress: Progress) -> ProgressReply:
        values = {field: getattr(progress, field) for field in cls.__struct_fields__}
        return cls(**(values | {"current": readable(progress.current)}))


class WaitingReply(msgspec.Struct, tag="waiting", tag_field="type", frozen=True):
    """The daemon has noted who waits: an unmount from now on will be reported."""


class TestedReply(msgspec.Struct, tag="tested", tag_field="type", frozen=True):
    """What each channel did with the test event."""

    channels: tuple[ChannelTest, ...]


class OpenLeg(msgspec.Struct, frozen=True):
    """`fd` is the daemon's descriptor of the root: /proc/PID/fd/FD is that directory, see proc(5)."""

    role: Role
    fd: int


class LegsReply(msgspec.Struct, tag="legs", tag_field="type", frozen=True):
    """The legs that can be used now."""

    pid: int
    legs: tuple[OpenLeg, ...]


class DoneReply(msgspec.Struct, tag="done", tag_field="type", frozen=True):
    """The request is fulfilled."""


class RecoveredReply(msgspec.Struct, tag="recovered", tag_field="type", frozen=True):
    """A recovery is done, or what it would do: one of them is set."""

    message: str = ""
    survey: Survey | None = None


class ErrorReply(msgspec.Struct, tag="error", tag_field="type", frozen=True):
    """The request failed; the text is for people, the code for the command's exit."""

    message: str
    exit_code: int = 1


class MismatchReply(msgspec.Struct, tag="mismatch", tag_field="type", frozen=True):
    """`Mismatch`, field by field."""

    path: str
    kind: MismatchKind
    bad_leg: BadLeg
    repaired: bool
    detail: str

    def to_mismatch(self) -> Mismatch:
        return Mismatch(**{field: getattr(self, field) for field in self.__struct_fields__})

    @classmethod
    def from_mismatch(cls, mismatch: Mismatch) -> MismatchReply:
        values = {field: getattr(mismatch, field) for field in cls.__struct_fields__}
        texts = {"path": readable(mismatch.path), "detail": readable(mismatch.detail)}
        return cls(**(values | texts))


class ScrubbedReply(msgspec.Struct, tag="scrubbed", tag_field="type", frozen=True):
    """The scrub is finished."""

    run: ScrubRun


Outcome: TypeAlias = DoneReply | RecoveredReply | ErrorReply | ScrubbedReply
"""How a long operation ends."""

Reply: TypeAlias = (
    StatusReply
    | ProgressReply
    | WaitingReply
    | DoneReply
    | RecoveredReply
    | ErrorReply
    | MismatchReply
    | ScrubbedReply
    | TestedReply
    | LegsReply
)

_encoder = msgspec.json.Encoder()
_request_decoder = msgspec.json.Decoder(Request)
_reply_decoder = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """One line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises msgspec.DecodeError (ValidationError among them) on anything that is no request."""
    request: Request = _request_decoder.decode(line)
    return request


def decode_reply(line: bytes) -> Reply:
    """Raises msgspec.DecodeError."""
    reply: Reply = _reply_decoder.decode(line)
    return reply
