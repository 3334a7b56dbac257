"""LVM2's text format: sections in braces, values that are strings, numbers or lists of them.

Source: lvm.conf(5), "SYNTAX".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from twinfs.errors import ImageError

Value = str | int | float | list["Value"] | dict[str, "Value"]
Section = dict[str, Value]

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<string>"(?:[^"\\]|\\.)*") | (?P<number>[-+]?\d{1,30}(?:\.\d{0,30})?)(?![\w.])
    | (?P<word>[\w.+/-]+) | (?P<mark>[{}\[\]=,])""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_DEEPEST = 10


def parse(text: str) -> Section:
    """The values of a text, by name. Raises ImageError for what does not follow the syntax."""
    return _Parser(text).section("", 0)


class _Parser:
    """Looks one token ahead. A token is its kind and its text; ("end", "") follows the last one."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = next(self._tokens)

    def section(self, end: str, depth: int) -> Section:
        """Names and values up to the brace, or the end, that closes the section."""
        if depth > _DEEPEST:
            raise ImageError(f"lvm: metadata is damaged: sections more than {_DEEPEST} deep")
        found: Section = {}
        while True:
            kind, name = self._take()
            if kind in ("mark", "end") and name == end:
                return found
            _, mark = self._take()
            if kind not in ("word", "number") or mark not in ("{", "="):
                raise ImageError(f"lvm: metadata is damaged: {name!r} {mark!r} where a name should be")
            found[name] = self.section("}", depth + 1) if mark == "{" else self._value()

    def _take(self) -> tuple[str, str]:
        taken = self._next
        self._next = next(self._tokens, ("end", ""))
        return taken

    def _value(self) -> Value:
        if self._next != ("mark", "["):
            return _scalar(self._take())
        self._take()
        values: list[Value] = []
        while self._next != ("mark", "]"):
            values.append(_scalar(self._take()))
            if self._next == ("mark", ","):
                self._take()
        self._take()
        return values


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ImageError(f"lvm: metadata is damaged: {text[at : at + 20]!r} at character {at}")
        at = found.end()
        if found.lastgroup is not None:
            yield found.lastgroup, found[found.lastgroup]
    yield "end", ""


def _scalar(token: tuple[str, str]) -> Value:
    kind, text = token
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    if kind == "number":
        return float(text) if "." in text else int(text)
    if kind == "word":
        return text
    raise ImageError(f"lvm: metadata is damaged: {text!r} where a value should be")
