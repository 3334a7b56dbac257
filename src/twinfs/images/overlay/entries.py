"""What was changed of directories: where a name leads now, or that it is gone although the image has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from twinfs.images.overlay.store import Store

_SELECT: Final = "SELECT id, parent, name, object, hides FROM entry"


@dataclass(frozen=True, slots=True)
class Entry:
    """`object` is None where the name was taken away."""

    id: int
    """Grows: names that are put later come later in a listing."""
    parent: int
    name: bytes
    object: int | None
    hides: int
    """1 where the image has something else, or the same, at that name."""


class Entries:
    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, parent: int, name: bytes) -> Entry | None:
        row = self._store.one(f"{_SELECT} WHERE parent = ? AND name = ?", parent, name)
        return None if row is None else Entry(*row)

    def of(self, parent: int) -> list[Entry]:
        return [Entry(*row) for row in self._store.all(f"{_SELECT} WHERE parent = ?", parent)]

    def after(self, parent: int, last_id: int, count: int) -> list[Entry]:
        """Names that lead somewhere, in the order in which they were put."""
        where = "parent = ? AND id > ? AND object IS NOT NULL ORDER BY id LIMIT ?"
        return [Entry(*row) for row in self._store.all(f"{_SELECT} WHERE {where}", parent, last_id, count)]

    def all(self) -> list[Entry]:
        return [Entry(*row) for row in self._store.all(f"{_SELECT} ORDER BY parent, name")]

    def put(self, parent: int, name: bytes, number: int | None, *, is_in_base: bool) -> None:
        """`is_in_base`: whether the image has that name in that directory."""
        self._store.run(
            "INSERT OR REPLACE INTO entry VALUES (NULL, ?, ?, ?, ?)", parent, name, number, int(is_in_base)
        )

    def take(self, parent: int, name: bytes, *, is_in_base: bool) -> None:
        if is_in_base:
            self.put(parent, name, None, is_in_base=True)  # hidden from now on
        else:
            self._store.run("DELETE FROM entry WHERE parent = ? AND name = ?", parent, name)
