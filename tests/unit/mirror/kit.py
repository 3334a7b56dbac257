"""Two legs in scratch directories, and a volume over them that is driven without a mount."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.tree import assert_same, differences, snapshot
from twinfs.journal.log import IntentLog, LogFile, create
from twinfs.mirror.applier import Applier
from twinfs.mirror.attributes import Wanted
from twinfs.mirror.compare import Comparer, Place, Trust
from twinfs.mirror.copier import Copy
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.label import initialise
from twinfs.mirror.names import Caller
from twinfs.mirror.nodes import Node, NodeTable
from twinfs.mirror.volume import Volume
from twinfs.model import Mode, VolumeConfig

ME = Caller(os.geteuid(), os.getegid(), 0o022)

SHM = Path("/dev/shm")


class Pair:
    """Two directories with the folders of a leg, and the secondary's applier. For the parts of mirror/."""

    def __init__(self, base: Path) -> None:
        self.primary, self.secondary = base / "primary", base / "secondary"
        for leg in (self.primary, self.secondary):
            (leg / ".twinfs" / "tmp").mkdir(parents=True, exist_ok=True)
            (leg / ".twinfs" / "quarantine").mkdir(exist_ok=True)
        (base / "state").mkdir(exist_ok=True)
        self.log = IntentLog(base / "state", "volume")
        self.log.start([], 0)
        self.state = base / "state"
        self.primary_fd = os.open(self.primary, os.O_RDONLY | os.O_DIRECTORY)
        self.secondary_fd = os.open(self.secondary, os.O_RDONLY | os.O_DIRECTORY)
        self.nodes = NodeTable(self.primary_fd)
        self.applier = Applier(self.secondary_fd, self.log)

    def restart(self) -> None:
        """A new applier, as after a kill, that knows what the log says of exchanges."""
        from twinfs.journal.replay import recover

        swapping = recover(LogFile(self.state, "volume")).swapping
        self.applier.close()
        self.applier = Applier(self.secondary_fd, self.log)
        self.applier.swapping.update(swapping)

    def compare(
        self,
        excludes: tuple[str, ...] = (),
        *,
        distrust_ns: int = 0,
        is_deleting_excluded: bool = False,
        is_keeping: bool = False,
    ) -> Comparer:
        """Compare everything and copy what differs, in one thread."""
        comparer = Comparer(
            self.primary_fd,
            self.applier,
            Excludes(excludes),
            self.nodes.ident_of,
            is_deleting_excluded=is_deleting_excluded,
        )
        places, seen = [Place(b"")], []
        while places:
            path = places.pop().path
            both = comparer.list_both(path)
            assert both is not None
            found = comparer.directory(path, *both, Trust(distrust_ns, is_keeping=is_keeping))
            places += found.directories
            seen.append(path)
            for copy in found.copies:
                self.run_copy(copy)
        for path in reversed(seen):
            self.applier.copy_times(self.primary_fd, path)
        comparer.close()
        return comparer

    def run_copy(self, copy: Copy) -> None:
        copy.begin(self.primary_fd, self.applier)
        copy.transfer()
        copy.finish(self.applier)

    def assert_equal(self) -> None:
        assert_same(self.primary, self.secondary)

    def quarantined(self) -> dict[str, bytes]:
        """Files in quarantine by their path there, without the session's folder."""
        root = self.secondary / ".twinfs" / "quarantine"
        found = {}
        for path in root.glob("*/**/*"):
            if path.is_file() and not path.is_symlink():
                found["/".join(path.relative_to(root).parts[1:])] = path.read_bytes()
        return found

    def close(self) -> None:
        self.applier.close()
        self.log.close(is_clean=False)
        os.close(self.primary_fd)
        os.close(self.secondary_fd)


@contextmanager
def pair_in(base: Path) -> Iterator[Pair]:
    pair = Pair(base)
    try:
        yield pair
    finally:
        pair.close()


@dataclass
class Ground:
    """A labelled volume's directories. `config` is remade with other settings by `with_mode`."""

    base: Path
    config: VolumeConfig

    @property
    def primary(self) -> Path:
        return Path(self.config.primary)

    @property
    def secondary(self) -> Path:
        return Path(self.config.secondary)

    @property
    def state(self) -> Path:
        return self.base / "state"

    def open(self) -> Volume:
        return Volume.open(self.config, self.state)

    def assert_equal(self) -> None:
        assert_same(self.primary, self.secondary)

    def differences(self) -> list[str]:
        return differences(snapshot(self.primary), snapshot(self.secondary))


KEEP_SECONDS = 30 * 86400.0


def new_ground(
    base: Path, mode: Mode, *, exclude: tuple[str, ...] = (), adopt: bool = False, keep: float | None = None
) -> Ground:
    """`keep`: for how many seconds old versions are kept."""
    primary, secondary = base / "primary", base / "secondary"
    for leg in (primary, secondary):
        leg.mkdir(parents=True, exist_ok=True)
    volume_id = initialise(str(primary), str(secondary), "pair", adopt=adopt)
    create(base / "state" / "pair", volume_id)
    config = VolumeConfig(
        "pair",
        volume_id,
        str(primary),
        str(secondary),
        mode,
        interval_seconds=3600,
        exclude=exclude,
        keep_versions_seconds=keep,
    )
    return Ground(base, config)


@asynccontextmanager
async def running(ground: Ground) -> AsyncIterator[User]:
    """An open volume that has compared its legs; closed in the end."""
    volume = ground.open()
    await volume.sync()
    try:
        yield User(volume)
    finally:
        await volume.close()


def abandon(volume: Volume) -> None:
    """As if the process had been killed: descriptors and threads go, nothing is drained or written."""
    core = volume.core
    core.nodes.close()
    core.lane.close()
    volume.content.close()
    core.applier.close()
    core.log.close(is_clean=False)
    os.close(core.primary_fd)
    if core.is_secondary_up and core.applier.root_fd >= 0:
        os.close(core.applier.root_fd)


class User:
    """Calls a volume with paths, as the kernel would: looks up name by name, and forgets afterwards."""

    def __init__(self, volume: Volume, caller: Caller = ME) -> None:
        self.volume = volume
        self.caller = caller
        self.lookups: Counter[int] = Counter()

    def count(self, node: Node, *, is_new: bool = False) -> Node:
        """The kernel keeps a reference with each answer; that of a new object is counted already."""
        node.refs += 0 if is_new else 1
        self.lookups[node.ident] += 1
        return node

    def forget_all(self) -> None:
        for ident, lookups in self.lookups.items():
            self.volume.core.nodes.forget(ident, lookups)
        self.lookups.clear()

    def lookup(self, path: str) -> Node:
        node = self.volume.core.nodes.root
        for name in os.fsencode(path).split(b"/"):
            if name:
                node = self.count(self.volume.names.lookup(node, name)[0])
        return node

    def place(self, path: str) -> tuple[Node, bytes]:
        parent, _, name = path.rpartition("/")
        return self.lookup(parent), os.fsencode(name)

    async def create(self, path: str, mode: int = 0o644) -> Node:
        """An empty file, open."""
        node, _ = await self.volume.names.create(*self.place(path), mode, self.caller)
        return self.count(node, is_new=True)

    async def make(self, path: str, mode: int, *, target: bytes = b"", rdev: int = 0) -> Node:
        names = self.volume.names
        node, _ = await names.make(*self.place(path), mode, self.caller, rdev=rdev, target=target)
        return self.count(node, is_new=True)

    async def mkdir(self, path: str, mode: int = 0o755) -> Node:
        return await self.make(path, stat.S_IFDIR | mode)

    async def symlink(self, path: str, target: bytes) -> Node:
        return await self.make(path, stat.S_IFLNK | 0o777, target=target)

    async def put(self, path: str, data: bytes) -> Node:
        """A new file with content."""
        node = await self.create(path)
        await self.volume.content.write(node, 0, data)
        self.volume.content.release(node)
        return node

    async def write(self, path: str, offset: int, data: bytes) -> None:
        node = self.lookup(path)
        await self.volume.content.open(node, os.O_WRONLY)
        await self.volume.content.write(node, offset, data)
        self.volume.content.release(node)

    async def read(self, path: str) -> bytes:
        node = self.lookup(path)
        await self.volume.content.open(node, os.O_RDONLY)
        data = await self.volume.content.read(node, 0, 1 << 24)
        self.volume.content.release(node)
        return bytes(data)

    async def truncate(self, path: str, size: int) -> None:
        await self.change(path, Wanted(size=size))

    async def change(self, path: str, wanted: Wanted) -> None:
        await self.volume.attributes.change(self.lookup(path), wanted)

    async def set_xattr(self, path: str, name: bytes, value: bytes) -> None:
        await self.volume.attributes.set_xattr(self.lookup(path), name, value, None)

    async def link(self, source: str, path: str) -> None:
        node = self.lookup(source)
        await self.volume.names.link(node, *self.place(path))
        self.count(node)

    async def unlink(self, path: str) -> None:
        await self.volume.names.remove(*self.place(path), is_directory=False)

    async def rmdir(self, path: str) -> None:
        await self.volume.names.remove(*self.place(path), is_directory=True)

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        await self.volume.names.rename(self.place(old), self.place(new), flags)
