"""TOML as text: what the standard library reads but does not write.

A volume's settings are flat, so a dozen lines replace a dependency. Changing single keys in place
keeps the comments of whoever wrote the file by hand.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from twinfs.errors import ConfigError

TomlValue: TypeAlias = str | bool | int | float | Sequence[str]

_TABLE = re.compile(r"^\s*\[")
_SIMPLE_VALUE = r"""(?:"[^"]*"|'[^']*'|[^#\s]+)"""


def encode(value: TomlValue) -> str:
    """One value in TOML's notation. Raises ConfigError for text that UTF-8 cannot hold."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{value!r}: a settings file holds UTF-8 names only") from None
        # JSON's escapes are a subset of TOML's basic strings; only DEL is allowed raw in JSON alone.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return "[" + ", ".join(encode(item) for item in value) + "]"


def document(values: Mapping[str, TomlValue]) -> str:
    return "".join(f"{key} = {encode(value)}\n" for key, value in values.items())


def edit(text: str, changes: Mapping[str, TomlValue | None]) -> str:
    """Set (or with None, drop) top-level keys, leaving every other line as it was.

    Falls back on a rewritten document, which loses comments but never a setting, when the lines
    do not say what a parser reads from them (a key spread over lines, or quoted).
    """
    wanted = {**tomllib.loads(text), **changes}
    wanted = {key: value for key, value in wanted.items() if value is not None}
    lines = text.splitlines()
    for key, value in changes.items():
        lines = _edit_line(lines, key, value)
    edited = "\n".join(lines) + "\n"
    try:
        is_faithful = tomllib.loads(edited) == wanted
    except tomllib.TOMLDecodeError:
        is_faithful = False
    return edited if is_faithful else document(wanted)


def _edit_line(lines: Sequence[str], key: str, value: TomlValue | None) -> list[str]:
    end = next((i for i, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    pattern = re.compile(rf"^(\s*{re.escape(key)}\s*=\s*){_SIMPLE_VALUE}(.*)$")
    for index in range(end):
        match = pattern.match(lines[index])
        if match is None:
            continue
        kept = [] if value is None else [f"{match[1]}{encode(value)}{match[2]}"]
        return [*lines[:index], *kept, *lines[index + 1 :]]
    added = [] if value is None else [f"{key} = {encode(value)}"]
    return [*lines[:end], *added, *lines[end:]]
