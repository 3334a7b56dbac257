"""Listing and restoring versions of a volume, mounted or not."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from twinfs.daemon import reach
from twinfs.daemon.client import ControlClient
from twinfs.daemon.destination import destination, opened
from twinfs.daemon.past_time import parse_past
from twinfs.daemon.paths import Paths
from twinfs.errors import NotMountedError, UsageError, VersionError
from twinfs.mirror.state import is_below
from twinfs.mirror.versions.history import History, Past, is_kept
from twinfs.mirror.versions.past import PastTree, status_of
from twinfs.mirror.versions.records import Changed, Gone
from twinfs.mirror.versions.restoring import Plan, Restorer, plan
from twinfs.model import Progress, Restored, Role, Version, VolumeConfig

_CONFLICTS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be restored. `at` as it was typed; `to` is a path outside of the volume's own places."""

    path: str
    at: str | None = None
    to: str | None = None
    is_forced: bool = False


def listed(paths: Paths, volume: VolumeConfig, path: str) -> Iterator[Version]:
    """What was removed or changed at and below the path, the oldest first. Raises TwinfsError."""
    with reach.legs_of(paths, volume) as legs:
        history = History(list(legs.roots.values()))
        found = list(history.of(_inside(path, legs.mountpoint)))
    for name, past in reversed(found):
        yield _version(name, past)


def _version(path: bytes, past: Past) -> Version:
    record = past.record
    assert isinstance(record, Gone | Changed)
    kept = record.kept
    return Version(
        path=os.fsdecode(path),
        time=record.time_ns / 1e9,
        at=_as_typed(record.time_ns),
        why=record.why.value,
        kind=_kind(kept.mode),
        size_bytes=kept.size if stat.S_ISREG(kept.mode) else 0,
        mtime_ns=kept.mtime_ns,
        is_kept=is_kept(kept),
    )


def _as_typed(time_ns: int) -> str:
    """Local time, to the microsecond, rounded down: going back to it is going back to before the change."""
    seconds, rest = divmod(time_ns, 10**9)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{rest // 1000:06d}"


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    return kinds.get(stat.S_IFMT(mode), "other")


def waiting(paths: Paths, volume: VolumeConfig) -> int:
    """How many changes the secondary has yet to get: what they remove is there still, and no version."""
    from twinfs.mirror.volume import Volume

    try:
        with ControlClient(paths, volume.name) as client:
            return client.status().pending.changes
    except NotMountedError:
        return Volume.offline_status(volume, paths.state_dir).pending.changes


def restore(
    paths: Paths,
    volume: VolumeConfig,
    wish: Wish,
    on_progress: Callable[[Progress], None],
    say: Callable[[str], None],
) -> Restored:
    """Bring back a path as it was. UsageError: the time or the destination; VersionError: nothing was
    written, for the reason it says. OSError: interrupted by it; what was restored stays."""
    since_ns = None if wish.at is None else parse_past(wish.at, datetime.now())
    if wish.to is not None:
        reach.bring_up_to_date_if_mounted(paths, volume.name, say)
        name = os.fsencode(os.path.basename(wish.path.strip("/")))
        with reach.legs_of(paths, volume) as legs, destination(wish.to, name) as (target_fd, target):
            path = _inside(wish.path, legs.mountpoint)
            return _Job(legs, volume, path, wish, since_ns, on_progress).run(
                target_fd, target, is_in_place=False
            )
    with reach.mounted(paths, volume, say) as mountpoint:
        reach.bring_up_to_date_if_mounted(paths, volume.name, say)
        with reach.legs_of(paths, volume) as legs, opened(mountpoint) as target_fd:
            path = _inside(wish.path, mountpoint)
            return _Job(legs, volume, path, wish, since_ns, on_progress).run(
                target_fd, path, is_in_place=True
            )


class _Job:
    """One restore, with the legs open."""

    def __init__(
        self,
        legs: reach.Legs,
        volume: VolumeConfig,
        path: bytes,
        wish: Wish,
        since_ns: int | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._legs = legs
        self._volume = volume
        self._path = path
        self._wish = wish
        self._on_progress = on_progress
        self._history = History(list(legs.roots.values()))
        if since_ns is None and self._is_left_on_secondary():
            # Its removal waits, for the brake or the next batch: there it is as it was, and no version yet.
            self._since_ns = time.time_ns()
        else:
            self._since_ns = self._known_moment(since_ns)
        self._tree = PastTree(legs.present, self._history.newest_first(self._since_ns))

    def _is_left_on_secondary(self) -> bool:
        roots = self._legs.roots
        if len(roots) < len(Role) or not self._path:
            return False
        try:
            there = {role: status_of(fd, self._path) is not None for role, fd in roots.items()}
        except OSError:
            return False
        return there[Role.SECONDARY] and not there[Role.PRIMARY]

    def _known_moment(self, wished_ns: int | None) -> int:
        """Without a wish, before the path's last change: that is known, however early its segment began."""
        known_ns = self._history.since_ns
        if known_ns is None:
            raise VersionError(f"volume {self._volume.name}: no versions are kept{_why_none(self._volume)}")
        if wished_ns is None:
            return self._history.last_moment(self._path)
        if wished_ns < known_ns:
            raise VersionError(f"volume {self._volume.name}: versions go back to {_as_typed(known_ns)} only")
        return wished_ns

    def run(self, target_fd: int, target: bytes, *, is_in_place: bool) -> Restored:
        try:
            todo = self._plan(target_fd, target)
        except FileNotFoundError:
            raise VersionError(
                f"{os.fsdecode(self._path)} was not there on {_as_typed(self._since_ns)};"
                f" look with: twinfs versions {self._volume.name} {self._wish.path}"
            ) from None
        self._refuse_conflicts(todo)
        done = _Meter(todo, self._on_progress)
        may_replace = todo.conflicts if self._wish.is_forced else ()
        restorer = Restorer(self._tree, target_fd, done, is_in_place=is_in_place, may_replace=may_replace)
        if is_in_place:
            restorer.make_parents(self._tree, target)
        restorer.run(todo)
        return Restored(
            at=self._since_ns / 1e9,
            restored=len(todo.files) + restorer.directories_made,
            equal=len(todo.equal),
            bytes=todo.bytes,
            lost=tuple(map(os.fsdecode, todo.lost)),
        )

    def _plan(self, target_fd: int, target: bytes) -> Plan:
        if self._tree.find(self._path) is None:
            # Named as it is called now; then it had another name.
            before = self._history.name_at(self._path, self._since_ns)
            return plan(self._tree, before, target_fd, target)
        return plan(self._tree, self._path, target_fd, target)

    def _refuse_conflicts(self, todo: Plan) -> None:
        wrong = todo.blocked if self._wish.is_forced else todo.conflicts
        if not wrong:
            return
        names = "".join(f"\n    {os.fsdecode(path) or '/'}" for path in wrong[:_CONFLICTS_SHOWN])
        more = f"\n    and {len(wrong) - _CONFLICTS_SHOWN} more" if len(wrong) > _CONFLICTS_SHOWN else ""
        if self._wish.is_forced:
            raise VersionError(
                f"nothing was changed: a directory is where a file was, or the reverse:{names}{more}\n"
                "  move it away, or restore elsewhere: --to DIR"
            )
        raise VersionError(
            f"nothing was changed: what is there now is not what was there then:{names}{more}\n"
            "  restore elsewhere: --to DIR; or in its place, and keep what is there as a version: --force"
        )


def _why_none(volume: VolumeConfig) -> str:
    return "" if volume.keep_versions_seconds else '; keep_versions = "30d" in its settings keeps them'


class _Meter:
    """Progress of the files, from a restorer."""

    def __init__(self, todo: Plan, on_progress: Callable[[Progress], None]) -> None:
        self._todo = todo
        self._on_progress = on_progress
        self._files = self._bytes = 0

    def __call__(self, path: bytes, size: int) -> None:
        self._files += 1
        self._bytes += size
        self._on_progress(
            Progress(
                "restoring",
                self._files,
                len(self._todo.files),
                self._bytes,
                self._todo.bytes,
                os.fsdecode(path),
            )
        )


def _inside(path: str, mountpoint: str | None) -> bytes:
    """The path in the volume, also of one that was given by where it is mounted. UsageError."""
    if mountpoint is not None and os.path.isabs(path):
        whole = os.path.normpath(path)
        if is_below(os.fsencode(whole), os.fsencode(mountpoint.rstrip("/"))):
            path = whole[len(mountpoint.rstrip("/")) :]
    parts = PurePosixPath(path.strip("/") or ".").parts
    if ".." in parts:
        raise UsageError(f"{path!r}: a path in the volume has no '..'")
    return os.fsencode("/".join(parts))
