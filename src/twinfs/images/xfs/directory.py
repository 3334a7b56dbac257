"""Directories: listing them, and finding one name without reading them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from twinfs.errors import ImageError
from twinfs.images.xfs import entries, index
from twinfs.images.xfs.blocks import ForkBlocks
from twinfs.images.xfs.disk import Disk
from twinfs.images.xfs.entries import Entry
from twinfs.images.xfs.inode import Format, Inode
from twinfs.images.xfs.mapping import Mapping
from twinfs.images.xfs.names import fold, hash_of, is_possible

Item = TypeVar("Item")

_DAMAGED_UNITS = 64
"""After so many unreadable blocks a directory is given up, lest a damaged one of terabytes be searched."""


class Directory:
    """One directory's entries. `mapping` is that of its data fork; None for one within its inode."""

    def __init__(self, disk: Disk, inode: Inode, mapping: Mapping | None) -> None:
        self._superblock = disk.superblock
        self._inode = inode
        self._what = f"inode {inode.number}"
        self._blocks: ForkBlocks | None = None
        if inode.data.format != Format.LOCAL:
            assert mapping is not None
            size = disk.superblock.directory_block_size
            self._blocks = ForkBlocks(disk, mapping, inode.number, size)
        self._index_block = index.INDEX_BYTE >> disk.superblock.block_log

    def entries(self) -> Iterator[Entry]:
        """Every entry but "." and "..", in the order they are stored.

        What is damaged is left out; the ImageError that says so comes after all that could be read.
        """
        damage: list[str] = []
        for entry in self._readable(damage):
            if is_possible(entry.name):
                yield entry
            elif entry.name not in (b".", b".."):
                damage.append(f"xfs: {self._what} is damaged: it has an entry named {entry.name!r}")
        if damage:
            more = f" (and {len(damage) - 1} more like this)" if len(damage) > 1 else ""
            raise ImageError(damage[0] + more)

    def find(self, name: bytes) -> Entry | None:
        """The entry of a name, also of another letter case where the file system ignores that.

        Goes by the index; where that is damaged, by all entries that can be read.
        """
        if not is_possible(name):
            return None
        if self._blocks is None:
            candidates = self._short_form()
        else:
            try:
                return self._match(name, self._indexed(self._blocks, name))
            except ImageError:
                candidates = self._readable([])
        return self._match(name, candidates)

    def _match(self, name: bytes, candidates: Iterator[Entry]) -> Entry | None:
        """The exact name first; both may be there where another system wrote to the disk."""
        similar = None
        for entry in candidates:
            if entry.name == name:
                return entry
            if similar is None and self._superblock.ignores_case and fold(entry.name) == fold(name):
                similar = entry
        return similar

    def _short_form(self) -> Iterator[Entry]:
        return entries.short_form(self._inode.data.data, self._superblock.has_file_types, self._what)

    def _readable(self, damage: list[str]) -> Iterator[Entry]:
        """All entries that can be read; what cannot is added to `damage`, as texts."""
        if self._blocks is None:
            source = self._short_form()
            yield from _until_damage(source, damage)
            return
        places: set[int] = set()
        for first in _until_damage(self._blocks.units(self._index_block), damage):
            try:
                [(place, _), *_] = self._blocks.pieces(first, self._blocks.unit_blocks, entries.DATA.name)
                if place in places:
                    raise ImageError(
                        f"xfs: {self._what} is damaged: the block at byte {place} is in it twice"
                    )
                places.add(place)
                block = self._blocks.read(first, entries.DATA)
            except ImageError as error:
                damage.append(str(error))
                if len(damage) >= _DAMAGED_UNITS:
                    return
                continue
            yield from _until_damage(self._in_block(block, place), damage)

    def _in_block(self, block: bytes, place: int) -> Iterator[Entry]:
        what = f"{entries.DATA.name} at byte {place}"
        superblock = self._superblock
        return entries.in_block(block, superblock.has_checksums, superblock.has_file_types, what)

    def _indexed(self, blocks: ForkBlocks, name: bytes) -> Iterator[Entry]:
        """The entries whose hash is the name's."""
        superblock = self._superblock
        hash_value = hash_of(fold(name) if superblock.ignores_case else name)
        what = f"the directory of {self._what}"
        if self._inode.stat.size_bytes <= superblock.directory_block_size:
            only = blocks.read(0, entries.DATA)
            if only[:4] in entries.BLOCK_MAGICS:
                start, count = entries.index_of(only, what)
                for address in index.search_leaf(only, start, count, hash_value):
                    if address:
                        yield entries.at_offset(only, address * 8, superblock.has_file_types, what)
                return
        root = self._index_block
        for offset in index.addresses(blocks, root, hash_value, superblock.has_checksums):
            number, within = divmod(offset, superblock.directory_block_size)
            block = blocks.read(number * blocks.unit_blocks, entries.DATA)
            yield entries.at_offset(block, within, superblock.has_file_types, what)


def _until_damage(items: Iterator[Item], damage: list[str]) -> Iterator[Item]:
    try:
        yield from items
    except ImageError as error:
        damage.append(str(error))
