"""Listing, copying out and purging what is in a volume's quarantines, mounted or not."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from twinfs.daemon import reach
from twinfs.daemon.destination import destination
from twinfs.daemon.paths import Paths
from twinfs.errors import QuarantineError, UsageError
from twinfs.fsio.beneath import located
from twinfs.fsio.syscalls import RENAME_NOREPLACE, renameat2
from twinfs.fsio.tree import remove_tree
from twinfs.fsio.uncached import method_of
from twinfs.mirror import quarantined
from twinfs.mirror.quarantine import QUARANTINE
from twinfs.mirror.quarantined import Entry
from twinfs.model import Progress, PutAside, Quarantined, Role, VolumeConfig
from twinfs.scrub.build import Builder, CopyFailedError
from twinfs.words import some_of


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry of a leg. `root_fd` is the leg's root."""

    leg: Role
    root_fd: int
    entry: Entry

    @property
    def id(self) -> bytes:
        return self.entry.place.removeprefix(QUARANTINE + b"/")

    def told(self) -> Quarantined:
        entry = self.entry
        size = quarantined.measure(self.root_fd, entry.place) if entry.size is None else entry.size
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
        return Quarantined(
            id=os.fsdecode(self.id),
            leg=self.leg,
            path=os.fsdecode(entry.path),
            time=entry.time,
            why=entry.why,
            kind=kinds.get(stat.S_IFMT(entry.mode), "other"),
            size_bytes=size,
        )


def listed(paths: Paths, volume: VolumeConfig, say: Callable[[str], None]) -> list[Quarantined]:
    """All of it, the oldest first. `say` is told of a leg that cannot be looked at."""
    with _legs(paths, volume, say) as roots:
        return [found.told() for found in _all(roots)]


@contextmanager
def _legs(paths: Paths, volume: VolumeConfig, say: Callable[[str], None]) -> Iterator[dict[Role, int]]:
    with reach.legs_of(paths, volume) as legs:
        for role in Role:
            if role not in legs.roots:
                say(f"volume {volume.name}: the {role} is not there; what is in its quarantine is not known")
        try:
            yield legs.roots
        except PermissionError as error:
            raise QuarantineError(
                f"volume {volume.name}: {error.filename}: {error.strerror}; the quarantine belongs to whoever"
                f" mounts the volume"
            ) from error
        except OSError as error:
            raise QuarantineError(f"volume {volume.name}: {error}") from error


def _all(roots: dict[Role, int]) -> list[_Found]:
    found = [
        _Found(role, root_fd, entry)
        for role, root_fd in roots.items()
        for session in quarantined.sessions(root_fd)
        for entry in quarantined.entries(root_fd, session)
    ]
    return sorted(found, key=lambda each: (each.entry.time, each.entry.path))


@dataclass(frozen=True, slots=True)
class _Copy:
    """`source` is from the root of the leg, `rest` where it goes below what was asked for."""

    found: _Found
    source: bytes
    rest: bytes


def restore(
    paths: Paths,
    volume: VolumeConfig,
    what: str,
    to: str,
    on_progress: Callable[[Progress], None],
    say: Callable[[str], None],
) -> PutAside:
    """Copy what has that id, or was at or below that path, to `to`. Nothing that is there is replaced; what
    is in quarantine stays there.

    QuarantineError: nothing was copied, for the reason it says; or what was copied until then stays.
    """
    with _legs(paths, volume, say) as roots:
        wanted = os.fsencode(what.strip("/"))
        copies = _chosen(volume, _all(roots), wanted)
        with destination(to, wanted.rpartition(b"/")[2]) as (target_fd, target):
            _refuse_legs(to, target_fd, roots)
            places = [b"/".join(filter(None, (target, copy.rest))) for copy in copies]
            _refuse_taken(to, target_fd, places)
            size = 0
            for done, (copy, place) in enumerate(zip(copies, places, strict=True)):
                on_progress(Progress("copying", done, len(copies), size, 0, os.fsdecode(place)))
                _put(copy, target_fd, place)
                size += quarantined.measure(copy.found.root_fd, copy.source)
    return PutAside(len(copies), size)


def _chosen(volume: VolumeConfig, every: list[_Found], wanted: bytes) -> list[_Copy]:
    """By id, else by path: the object itself, all below it, or something in a directory that is there."""
    copies = _matching(every, wanted, lambda found: found.id)
    if not copies:
        copies = _matching(every, wanted, lambda found: found.entry.path)
    if not copies:
        raise QuarantineError(
            f"{os.fsdecode(wanted)} is not in quarantine; what is: twinfs quarantine {volume.name}"
        )
    copies = [copy for copy in copies if not any(_is_below(copy.source, other.source) for other in copies)]
    for copy in copies:
        for other in copies:
            if other is not copy and (other.rest == copy.rest or _is_below(other.rest, copy.rest)):
                ids = "".join(f"\n    {os.fsdecode(each.found.id)}" for each in (copy, other))
                raise QuarantineError(
                    f"more than one was put aside at {os.fsdecode(copy.found.entry.path)};"
                    f" say which, by its id:{ids}"
                )
    return copies


def _matching(every: list[_Found], wanted: bytes, key_of: Callable[[_Found], bytes]) -> list[_Copy]:
    copies = []
    for found in every:
        key = key_of(found)
        if key == wanted or _is_below(key, wanted):
            copies.append(_Copy(found, found.entry.place, key[len(wanted) :].strip(b"/")))
        elif _is_below(wanted, key) and stat.S_ISDIR(found.entry.mode):
            source = found.entry.place + wanted[len(key) :]
            if quarantined.is_there(found.root_fd, source):
                copies.append(_Copy(found, source, b""))
    return copies


def _is_below(path: bytes, top: bytes) -> bool:
    return path != top and (not top or path.startswith(top + b"/"))


def _refuse_legs(to: str, target_fd: int, roots: dict[Role, int]) -> None:
    """On a leg, behind the volume's back, it would be put aside again by the next comparison."""
    legs = {_identity(fd): role for role, fd in roots.items()}
    device = os.fstat(target_fd).st_dev
    with contextlib.ExitStack() as stack:
        fd, above = -1, target_fd
        while fd < 0 or _identity(above) != _identity(fd):
            fd = above
            if os.fstat(fd).st_dev != device:
                return
            if (role := legs.get(_identity(fd))) is not None:
                raise UsageError(f"--to: {to} is on the {role} leg itself; say a place in the mounted volume")
            above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            stack.callback(os.close, above)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _refuse_taken(to: str, target_fd: int, places: list[bytes]) -> None:
    taken = [place for place in places if quarantined.is_there(target_fd, place)]
    if taken:
        raise QuarantineError(
            f"nothing was copied: in {os.path.abspath(to)} there is already {some_of(taken)};"
            " say another place, or another name"
        )


def _put(copy: _Copy, target_fd: int, place: bytes) -> None:
    """Under a temporary name, complete and durable; then under its own, where nothing has that now."""
    parent, _, name = place.rpartition(b"/")
    _make_directories(target_fd, parent)
    root_fd = copy.found.root_fd
    with located(target_fd, place) as (dir_fd, _):
        temporary = b".twinfs-restore-" + secrets.token_hex(8).encode()
        builder = Builder(root_fd, dir_fd, method_of(root_fd), lambda path, is_directory: False)
        try:
            builder.build(copy.source, temporary, None)
            renameat2(temporary, name, dir_fd, dir_fd, RENAME_NOREPLACE)
        except CopyFailedError as error:
            raise QuarantineError(f"{os.fsdecode(copy.found.id)}: {error}") from error
        finally:
            remove_tree(dir_fd, temporary)


def _make_directories(target_fd: int, path: bytes) -> None:
    for end in [index for index in range(len(path) + 1) if path[index : index + 1] in (b"/", b"")]:
        if path[:end]:
            with contextlib.suppress(FileExistsError), located(target_fd, path[:end]) as (dir_fd, name):
                os.mkdir(name, 0o700, dir_fd=dir_fd)


def purge(
    paths: Paths,
    volume: VolumeConfig,
    older_than_seconds: float,
    say: Callable[[str], None],
    *,
    is_dry_run: bool,
) -> list[Quarantined]:
    """Remove what was put aside by runs that ended so long ago; what that was. QuarantineError."""
    latest = time.time() - older_than_seconds
    with _legs(paths, volume, say) as roots:
        gone = [
            (role, root_fd, session)
            for role, root_fd in roots.items()
            for session in quarantined.sessions(root_fd)
            if quarantined.newest(root_fd, session) <= latest
        ]
        told = [
            _Found(role, root_fd, entry).told()
            for role, root_fd, session in gone
            for entry in quarantined.entries(root_fd, session)
        ]
        if not is_dry_run:
            for _, root_fd, session in gone:
                quarantined.purge(root_fd, session)
    return sorted(told, key=lambda each: (each.time, each.path))
