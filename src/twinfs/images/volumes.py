"""What an image holds: its disk, the table, and the volumes that can be looked into."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.containers import Disk, open_disk
from twinfs.images.damaged import Damaged
from twinfs.images.escapes import escaped
from twinfs.images.filesystems import open_file_system
from twinfs.images.luks import Derivation, Keyring
from twinfs.images.partitions import PartitionTable, Scheme, read_table
from twinfs.images.probes import Found, is_known, probe
from twinfs.images.protocol import ByteSource, FileSystem
from twinfs.images.sources import Window

LOGICAL_BASE: Final = 100_000
_MAX_LOGICAL: Final = 1000
CONTAINED_BASE: Final = 200_000


@dataclass(slots=True)
class Volume:
    """A window of the disk that may hold a file system; partition 0 is the whole disk."""

    index: int
    """The partition's number; logical volumes count from LOGICAL_BASE on, APFS's from CONTAINED_BASE."""
    name: bytes
    """Of its directory: `p1`, `p1-NAME`, or `group-volume` as device-mapper calls logical volumes."""
    source: ByteSource
    found: Found | None
    error: str = ""
    """Why its first blocks, or with `place` anything of it, could not be read."""
    inside: ByteSource | None = None
    """What was decrypted, where `source` is encrypted; `found` then tells of this."""
    place: int = 0
    """Which of those that share the blocks of a container; 0: the one that stands for it, or there is one."""

    @property
    def content(self) -> ByteSource:
        """Where its file system lies."""
        return self.source if self.inside is None else self.inside

    @property
    def is_encrypted(self) -> bool:
        """Also when it was opened."""
        return self.inside is not None or (self.found is not None and self.found.kind == "crypto_LUKS")

    @property
    def is_readable(self) -> bool:
        return self.found is not None and self.found.is_file_system and not (self.place and self.error)

    @property
    def has_own_bytes(self) -> bool:
        """Apart from the disk's, and from those of a container."""
        return self.index > 0 and not self.place


class Image:
    """An open image. Close it when done; threads may share it."""

    def __init__(self, disk: Disk, damaged: Damaged | None = None) -> None:
        """Raises ImageError where not even the table can be read."""
        self.disk = disk
        self.damaged = damaged
        self.table: PartitionTable = read_table(disk.source, is_known)
        self._keyring: Keyring | None = None
        self.volumes: tuple[Volume, ...] = tuple(self._find_volumes())
        self._file_systems: dict[int, FileSystem | ImageError] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str, map_path: str | None = None, *, directory_fd: int | None = None) -> Image:
        """With ddrescue's map of a disk that was partly read, what was not read is an error, not zeros.
        `directory_fd` is `open_disk`'s."""
        disk = open_disk(path, directory_fd=directory_fd)
        try:
            if map_path is None:
                return cls(disk)
            damaged = Damaged(disk.source, map_path)
            disk.source = damaged
            return cls(disk, damaged)
        except BaseException:
            disk.close()
            raise

    def wanted_key(self) -> Derivation | None:
        """What to derive from the passphrase next; None: enough was.

        Raises ImageError where it opened nothing. Not while others use the image: volumes appear.
        """
        if self._keyring is None:
            self.add_key(None, b"")
        assert self._keyring is not None
        if self._keyring.wanted is not None:
            return self._keyring.wanted
        encrypted = [volume for volume in self.volumes if volume.is_encrypted]
        if not encrypted:
            raise ImageError("nothing in it is encrypted with LUKS")
        if all(volume.inside is None for volume in encrypted):
            raise ImageError(f"{encrypted[0].name.decode()}: {encrypted[0].error}")
        return None

    def add_key(self, derivation: Derivation | None, key: bytes) -> None:
        self._keyring = self._keyring or Keyring()
        self._keyring.add(derivation, key)
        self.volumes = tuple(self._find_volumes())

    def _volume(self, index: int, name: bytes, source: ByteSource) -> Volume:
        try:
            made = Volume(index, name, source, probe(source))
        except ImageError as error:
            return Volume(index, name, source, None, str(error))
        if made.is_encrypted and self._keyring is not None:
            try:
                inside = self._keyring.open(source)
                made.found, made.inside = probe(inside), inside
            except ImageError as error:
                made.error = str(error)
        return made

    def _find_volumes(self) -> Sequence[Volume]:
        if self.table.scheme is Scheme.NONE:
            whole = self._volume(0, b"p0", self.disk.source)
            found = [whole, *self._logical([whole])]
            return found + _contained(found)
        size = self.table.sector_size
        found = [
            self._volume(
                each.index,
                b"p%d" % each.index,
                Window(self.disk.source, each.start_sector * size, each.sectors * size),
            )
            for each in self.table.partitions
            if not each.is_container and not each.problem
        ]
        found += self._logical(found)
        whole = self._volume(0, b"p0", self.disk.source)
        if whole.found is not None and whole.found.kind in ("iso9660", "udf"):
            # An installation disc that is also a bootable stick: the table points into the disc.
            found.insert(0, whole)
        return found + _contained(found)

    def _logical(self, partitions: Sequence[Volume]) -> list[Volume]:
        """The logical volumes of all groups whose physical volumes are among the partitions."""
        members = [each for each in partitions if each.found is not None and each.found.kind == "LVM2_member"]
        if not members:
            return []
        from twinfs.images import lvm

        found: dict[bytes, Volume] = {}
        for member in members:
            others = [each.content for each in members if each is not member]
            try:
                listed = lvm.logical_volumes(member.content, others) or []
            except ImageError as error:
                member.error = str(error)
                continue
            for each in listed[:_MAX_LOGICAL]:
                # As device-mapper names them: a dash in a name is doubled, see dmsetup(8).
                name = f"{each.group.replace('-', '--')}-{each.name.replace('-', '--')}".encode()
                if name not in found:
                    found[name] = self._volume(LOGICAL_BASE + len(found), name, each.source)
                    found[name].error = found[name].error or each.problem or ""
        return list(found.values())

    def file_system(self, volume: Volume) -> FileSystem:
        """Opened when first asked for. Raises ImageError, the same each time, where it cannot be read."""
        with self._lock:
            known = self._file_systems.get(volume.index)
            if known is None:
                known = self._file_systems[volume.index] = _opened(volume)
        if isinstance(known, ImageError):
            raise ImageError(*known.args)
        return known

    def has_changed(self) -> bool:
        return self.disk.has_changed() or (self.damaged is not None and self.damaged.has_changed())

    def close(self) -> None:
        self.disk.close()


def _contained(containers: Sequence[Volume]) -> list[Volume]:
    """The volumes of APFS containers but for each one's first, which is the container's own directory."""
    names, made = {each.name for each in containers}, list[Volume]()
    for holder in containers:
        if holder.found is None or holder.found.volumes < 2:
            continue
        # Not above: `image info` has nothing else to ask the library.
        from twinfs.images import explorer

        try:
            listed = explorer.contained(holder.content, holder.found)
        except ImageError as error:
            holder.error = str(error)
            continue
        for each in listed:
            name = holder.name + b"-" + escaped(each.name.encode("utf-8", "replace"))
            if not each.name or name in names:
                name = b"%s-v%d" % (holder.name, each.place)
            names.add(name)
            found = Found(holder.found.kind, each.name, each.uuid, holder.found.total_bytes)
            number = CONTAINED_BASE + len(made)
            made.append(Volume(number, name, holder.content, found, each.problem, place=each.place))
    return made


def _opened(volume: Volume) -> FileSystem | ImageError:
    where = volume.name.decode() if volume.index else "the disk"
    if volume.found is None:
        return ImageError(f"{where}: no file system is known there{volume.error and ': '}{volume.error}")
    try:
        opened = open_file_system(volume.content, volume.found, volume.place)
    except ImageError as error:
        return ImageError(f"{where}: {error}")
    if opened is None:
        return ImageError(f"{where}: {volume.found.kind} cannot be read here; its bytes are there as .img")
    return opened
