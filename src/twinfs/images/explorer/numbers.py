"""Inode numbers for the library's nodes, and nodes for the numbers.

Two ways. Where the file system numbers its inodes, the number is all that is needed to find a node again.
Elsewhere (FAT, ISO 9660...) a number is the entry's place in the order in which directories were
first listed: a directory's entries get one run of numbers, so nothing needs to be remembered of a file.
"""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twinfs.errors import ImageError
from twinfs.images import progress
from twinfs.images.explorer.library import EntryType, Node, Tree, guarded

_MAX_DEPTH: Final = 1024
_MAX_KEPT_NODES: Final = 40_000
"""About 40 MB of them; the directory in use is kept whatever its size."""
_MAX_ENTRIES: Final = 3_000_000


class Numbers(Protocol):
    @property
    def root(self) -> int: ...

    def node(self, number: int) -> Node:
        """The node, with its attributes."""
        ...

    def children(self, number: int) -> Iterator[tuple[int, Node]]:
        """Entries with their attributes, each with its number; one with `error` set cannot be read."""
        ...

    def lookup(self, number: int, name: str) -> tuple[int, Node] | None: ...


class OwnNumbers:
    """For file systems with inode numbers: `to_number` and `to_ref` translate the library's reference."""

    def __init__(self, tree: Tree, to_number: Callable[[Any], int], to_ref: Callable[[int], Any]) -> None:
        self._tree = tree
        self._to_number = to_number
        self._to_ref = to_ref
        self.root = to_number(tree.root().ref)

    def node(self, number: int) -> Node:
        found = Node("", EntryType.OTHER, ref=self._to_ref(number), statted=False)
        return self._tree.stat(found)

    def children(self, number: int) -> Iterator[tuple[int, Node]]:
        given = 0
        try:
            with guarded("directory"):
                for child in self._tree.children(self.node(number)):
                    yield self._to_number(child.ref), _stat(self._tree, child)
                    given += 1
        except ImageError:
            # The library looks at many entries at once, and a damaged one costs all of them: go on singly.
            rest = self._tree.children(self.node(number), stat=False)
            for child in itertools.islice(rest, given, None):
                yield self._to_number(child.ref), _stat(self._tree, child)
            raise

    def lookup(self, number: int, name: str) -> tuple[int, Node] | None:
        found = self._tree.lookup(self.node(number), name)
        return None if found is None else (self._to_number(found.ref), _stat(self._tree, found))


def _stat(tree: Tree, node: Node) -> Node:
    """With its attributes; what cannot be read is an entry with an error, not the end of the listing."""
    if node.statted:
        return node
    try:
        with guarded("attributes"):
            return tree.stat(node)
    except ImageError as error:
        node.error = node.error or str(error)
        return node


@dataclass(slots=True)
class _Directory:
    base: int
    count: int
    depth: int


class ListedNumbers:
    """For file systems without: see the module's head. The root is number 1."""

    root: Final = 1

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._lock = threading.RLock()
        self._directories: dict[int, _Directory] = {}
        self._bases: list[int] = []
        self._owners: list[int] = []
        self._next = 2
        self._listings: OrderedDict[int, _Listing] = OrderedDict()
        self._kept = 0
        self._links: dict[object, int] = {}

    def node(self, number: int) -> Node:
        if number == self.root:
            return self._tree.root()
        with self._lock:
            place = bisect.bisect_right(self._bases, number) - 1
            if place < 0:
                raise ImageError(f"no inode {number} is known")
            owner, base = self._owners[place], self._bases[place]
            nodes = self._listing(owner).nodes
            if number - base >= len(nodes):
                raise ImageError(f"no inode {number} is known")
            return nodes[number - base]

    def children(self, number: int) -> Iterator[tuple[int, Node]]:
        with self._lock:
            listing = self._listing(number)
            base = self._directories[number].base
        for place, node in enumerate(listing.nodes):
            yield self._number(base + place, node), node
        if listing.error is not None:
            raise ImageError(listing.error)

    def lookup(self, number: int, name: str) -> tuple[int, Node] | None:
        with self._lock:
            listing = self._listing(number)
            base = self._directories[number].base
            place = listing.place_of(name)
            if place is None:
                return None
            node = listing.nodes[place]
            return self._number(base + place, node), node

    def _number(self, own: int, node: Node) -> int:
        """Two names of one file have one number, where the file system says that they are one."""
        if node.type is EntryType.DIR or not node.inode or (node.nlink or 1) < 2:
            return own
        return self._links.setdefault(node.inode, own)

    def _listing(self, number: int) -> _Listing:
        if number in self._listings:
            self._listings.move_to_end(number)
            return self._listings[number]
        directory = self.node(number)
        if directory.error:
            raise ImageError(directory.error)
        if number not in self._directories and self._depth(number) > _MAX_DEPTH:
            raise ImageError(f"directories are nested deeper than {_MAX_DEPTH}: a loop")
        listing = _Listing(self._tree, directory)
        if number not in self._directories:
            self._directories[number] = _Directory(self._next, len(listing.nodes), self._depth(number))
            self._bases.append(self._next)
            self._owners.append(number)
            self._next += max(1, len(listing.nodes))
        self._keep(number, listing)
        return listing

    def _depth(self, number: int) -> int:
        if number == self.root:
            return 0
        owner = self._owners[bisect.bisect_right(self._bases, number) - 1]
        return self._directories[owner].depth + 1

    def _keep(self, number: int, listing: _Listing) -> None:
        self._listings[number] = listing
        self._kept += len(listing.nodes)
        while self._kept > _MAX_KEPT_NODES and len(self._listings) > 1:
            _, dropped = self._listings.popitem(last=False)
            self._kept -= len(dropped.nodes)


class _Listing:
    """A directory's entries, as far as they can be read, and their names when first asked for."""

    def __init__(self, tree: Tree, directory: Node) -> None:
        self.nodes: list[Node] = []
        self.error: str | None = None
        self._places: dict[str, int] | None = None
        self._folded: dict[str, int] = {}
        if directory.type is not EntryType.DIR:
            raise ImageError("not a directory")
        try:
            with guarded("directory"):
                for child in tree.children(directory):
                    progress.advance()
                    self.nodes.append(_stat(tree, child))
                    if len(self.nodes) > _MAX_ENTRIES:
                        raise ImageError(f"directory: more than {_MAX_ENTRIES} entries")
        except ImageError as error:
            self.error = str(error)

    def place_of(self, name: str) -> int | None:
        """An exact match first; then one that differs in case alone."""
        if self._places is None:
            places: dict[str, int] = {}
            for place, node in enumerate(self.nodes):
                places.setdefault(node.name, place)
                self._folded.setdefault(node.name.casefold(), place)
            self._places = places
        exact = self._places.get(name)
        return exact if exact is not None else self._folded.get(name.casefold())
