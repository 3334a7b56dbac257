"""Values and choices shared by every layer: frozen, typed, without behaviour that touches a disk."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    PRIMARY = "primary"
    SECONDARY = "secondary"


class Mode(StrEnum):
    """When a change reaches the secondary: before the caller is answered, or with the next batch."""

    SYNC = "sync"
    BATCHED = "batched"


class ReadPolicy(StrEnum):
    """Which leg is read, of what is not in the page cache and in sync on both: the primary; for each
    request the one that will answer sooner; and of long sequential reads, parts of both at once."""

    PRIMARY = "primary"
    BALANCE = "balance"
    STRIPE = "stripe"


class VolumeState(StrEnum):
    """clean: nothing pending and the secondary is durable; either disk may be unplugged."""

    CLEAN = "clean"
    DIRTY = "dirty"
    DEGRADED = "degraded"
    RESYNCING = "resyncing"
    FAILED = "failed"


class LegState(StrEnum):
    IN_SYNC = "in_sync"
    STALE = "stale"
    MISSING = "missing"
    WRONG_DISK = "wrong_disk"
    FAULTY = "faulty"


@dataclass(frozen=True, slots=True)
class LegStatus:
    role: Role
    path: str
    state: LegState
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Pending:
    """What the secondary has not yet applied.

    `changes` counts namespace records and objects whose content or metadata are behind; `bytes` is the
    content still to copy; `lag_seconds` is the age of the oldest of them (0.0 when there is none).
    """

    changes: int
    bytes: int
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class ScrubSummary:
    """The last finished scrub. `finished` is seconds since the epoch."""

    finished: float
    mismatches: int
    repaired: int
    bytes: int


class ReadMethod(StrEnum):
    """How a scrub reads past the page cache: by O_DIRECT, or by dropping what is cached."""

    DIRECT = "direct"
    DROPPED = "dropped"


class MismatchKind(StrEnum):
    CONTENT = "content"
    METADATA = "metadata"
    MISSING = "missing"
    EXTRA = "extra"


class BadLeg(StrEnum):
    """Which copy a mismatch is the fault of; unknown when nothing proves it."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One object that differs between the legs, or from what is known of it. `detail` is for people."""

    path: str
    kind: MismatchKind
    bad_leg: BadLeg
    repaired: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ScrubRun:
    """One scrub. Times are seconds since the epoch, `finished` is 0.0 of one that was interrupted.

    `bytes` counts what was compared, once for both legs; `busy` the files that were never quiet for long
    enough to be read. `read` is how the primary and the secondary were read.
    """

    started: float
    finished: float
    plan: str
    files: int
    bytes: int
    mismatches: int
    repaired: int
    busy: int
    seconds: float
    read: tuple[ReadMethod, ReadMethod]


@dataclass(frozen=True, slots=True)
class Held:
    """What versions take on both legs, and since when there are any, in seconds since the epoch."""

    bytes: int
    since: float | None


@dataclass(frozen=True, slots=True)
class PutAside:
    """What is in the quarantines of both legs, a directory counted as one object; `bytes` are the sizes of
    all files, `since` when the oldest came there, in seconds since the epoch."""

    objects: int = 0
    bytes: int = 0
    since: float | None = None


@dataclass(frozen=True, slots=True)
class VolumeStatus:
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
    """Paths whose last changes went with a primary that failed, until it is back."""
    versions: Held | None = None
    """None where the settings ask for none."""
    quarantine: PutAside = PutAside()


@dataclass(frozen=True, slots=True)
class Progress:
    """A long operation's position. Totals are 0 while they are not known yet."""

    step: str
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    current: str


class Action(StrEnum):
    """The ways back after something went wrong with a leg; and taking one out and putting it back."""

    RESYNC = "resync"
    REBUILD = "rebuild"
    REPLACE = "replace"
    PROMOTE = "promote"
    DETACH = "detach"
    ATTACH = "attach"


@dataclass(frozen=True, slots=True)
class Order:
    """A recovery that is asked for. `leg` is a role or a leg's path, where the action is about one leg;
    `path` the new directory of `replace`. `is_forced`: even though data will be missing, or both copies
    will be on one disk. `is_adopting`: `path` may hold files, which are compared."""

    action: Action
    leg: str = ""
    path: str = ""
    is_forced: bool = False
    is_adopting: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """What a recovery would do: objects and bytes of the primary, and how the secondary differs.

    `examples` are lines for people, some of what differs.
    """

    files: int = 0
    bytes: int = 0
    missing: int = 0
    differing: int = 0
    extra: int = 0
    bytes_to_copy: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Version:
    """One object of the past. `path` is its path then; it was so until `time`, in seconds since the epoch.

    `at` says that as `restore --at` takes it. `why` is what became of it.

    `kind` is "file", "directory", "symlink" or "other"; `mtime_ns` is the object's. `is_kept` is False of
    what could not be kept: that it was there is all that is known.
    """

    path: str
    time: float
    at: str
    why: str
    kind: str
    size_bytes: int
    mtime_ns: int
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One object in a leg's quarantine. `id` is what it is told from others by: the session's folder, then
    where it is in it. `path` is where it was, until `time`, in seconds since the epoch; `why` is for people.

    `kind` is as a version's; `size_bytes` is that of all files in it.
    """

    id: str
    leg: Role
    path: str
    time: float
    why: str
    kind: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: objects made or replaced, those that were there already, what could not be had
    any more. `at` is the moment in seconds since the epoch."""

    at: float
    restored: int
    equal: int
    bytes: int
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a volume. `time` is seconds since the epoch; `kind` is snake_case."""

    time: float
    volume: str
    kind: str
    message: str


class Severity(StrEnum):
    """How loudly an event is told: to the journal, to people, in metrics."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Notice:
    """An event on its way to people, with the volume's state and what to do next, where they are known."""

    event: Event
    severity: Severity
    state: VolumeState | None = None
    action: str | None = None


class Verdict(StrEnum):
    """What became of an attempt to reach people. off: nobody asked for it in the settings."""

    OK = "ok"
    FAILED = "failed"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class ChannelTest:
    """What one way of reaching people did with a test event."""

    channel: str
    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True)
class VolumeConfig:
    """A volume's settings, as its TOML says them (daemon/config.py reads and writes it).

    `primary` and `secondary` are absolute paths of the legs' root directories. `at` is "HH:MM" local
    time or None; in batched mode it replaces `interval_seconds`. `scrub_at` is "sun 03:00" or "03:00",
    local time, too. `on_event` is a program and its arguments, `mail_to` mail addresses; both are empty
    where nobody is to be told that way.
    """

    name: str
    volume_id: str
    primary: str
    secondary: str
    mode: Mode = Mode.SYNC
    interval_seconds: float = 5.0
    at: str | None = None
    mountpoint: str | None = None
    exclude: tuple[str, ...] = ()
    delete_excluded: bool = False
    degraded_start: bool = False
    scrub_at: str | None = None
    scrub_max_age_seconds: float | None = None
    leg_timeout_seconds: float = 20.0
    log_limit: int = 1_000_000
    max_delete_percent: float | None = None
    max_delete_files: int | None = None
    on_event: tuple[str, ...] = ()
    mail_to: tuple[str, ...] = ()
    metrics_file: str | None = None
    read_policy: ReadPolicy = ReadPolicy.PRIMARY
    secondary_sleeps: bool = False
    keep_versions_seconds: float | None = None
    keep_versions_size: str = "10%"
