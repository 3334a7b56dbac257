"""Objects that are new, or that differ from the image's: their attributes, all of them, in one row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, Final

from twinfs.images.overlay.store import Store


@dataclass(frozen=True, slots=True)
class Object:
    """Times are nanoseconds since 1970."""

    id: int
    base: bytes | None
    """Path in the image (`/p1/etc`) of what it was, whose entries or bytes it still has; None: it is new."""
    is_linked: bool
    """Whether it has other names in the image."""
    mode: int
    links: int
    uid: int
    gid: int
    device: int
    size: int
    """Of a file that has no bytes of its own here; else its file of bytes knows, see contents.py."""
    blocks: int
    """Of 512 bytes, that the image has of it."""
    atime: int
    mtime: int
    ctime: int
    target: bytes = b""
    base_limit: int = 0
    """Only below this offset can bytes be the image's."""
    has_bytes: bool = False


_NAMES: Final = tuple(field.name for field in fields(Object))
_SELECT: Final = f"SELECT {', '.join(_NAMES)} FROM object"
_INSERT: Final = f"INSERT INTO object VALUES ({', '.join('?' * len(_NAMES))})"


class Objects:
    def __init__(self, store: Store) -> None:
        self._store = store

    @staticmethod
    def _made(row: tuple[Any, ...] | None) -> Object | None:
        if row is None:
            return None
        found = Object(*row)
        return replace(
            found,
            is_linked=bool(found.is_linked),
            has_bytes=bool(found.has_bytes),
            atime=int(found.atime),
            mtime=int(found.mtime),
            ctime=int(found.ctime),
        )

    def get(self, number: int) -> Object:
        found = self._made(self._store.one(f"{_SELECT} WHERE id = ?", number))
        if found is None:
            raise KeyError(number)
        return found

    def of_base(self, path: bytes) -> Object | None:
        return self._made(self._store.one(f"{_SELECT} WHERE base = ?", path))

    def linked(self) -> list[Object]:
        """Those of the image that have several names there: whichever is used leads to the one object."""
        rows = self._store.all(f"{_SELECT} WHERE is_linked = 1")
        return [found for row in rows if (found := self._made(row)) is not None]

    def all(self) -> list[Object]:
        rows = self._store.all(f"{_SELECT} WHERE links > 0")
        return [found for row in rows if (found := self._made(row)) is not None]

    def add(self, wanted: Object, xattrs: Mapping[bytes, bytes]) -> Object:
        """`wanted.id` is given out here, and never twice. To be called within a transaction."""
        number = self._store.run(_INSERT, None, *map(_kept, astuple(wanted)[1:]))
        for name, value in xattrs.items():
            self.set_xattr(number, name, value)
        return replace(wanted, id=number)

    def change(self, number: int, **values: Any) -> None:  # noqa: ANN401  of the columns' types
        columns = ", ".join(f"{name} = ?" for name in values)
        self._store.run(f"UPDATE object SET {columns} WHERE id = ?", *map(_kept, values.values()), number)

    def remove(self, number: int) -> None:
        """With all that is known of it. To be called within a transaction."""
        for table, column in (
            ("xattr", "object"),
            ("piece", "object"),
            ("entry", "parent"),
            ("object", "id"),
        ):
            self._store.run(f"DELETE FROM {table} WHERE {column} = ?", number)

    def without_names(self) -> list[int]:
        """Were still open when they lost their last name."""
        return [number for (number,) in self._store.all("SELECT id FROM object WHERE links = 0")]

    # Extended attributes

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        return dict(self._store.all("SELECT name, value FROM xattr WHERE object = ?", number))

    def set_xattr(self, number: int, name: bytes, value: bytes) -> None:
        self._store.run("INSERT OR REPLACE INTO xattr VALUES (?, ?, ?)", number, name, value)

    def remove_xattr(self, number: int, name: bytes) -> None:
        self._store.run("DELETE FROM xattr WHERE object = ? AND name = ?", number, name)


def _kept(value: Any) -> Any:  # noqa: ANN401  of the columns' types
    """SQLite counts to 2^63, in nanoseconds the year 2262; ext4, for one, reaches 2446."""
    return str(value) if isinstance(value, int) and not -1 << 63 <= value < 1 << 63 else value
