"""Which paths live on the primary only."""

from __future__ import annotations

import os
from collections.abc import Sequence

from twinfs.errors import ConfigError


class Excludes:
    """gitignore patterns: `*.tmp` anywhere, `/cache/` a directory at the root, `!keep.tmp` an exception.

    Source: gitignore(5), through pathspec. A path below an excluded directory is excluded.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._spec = None
        if self.patterns:
            # Imported only when needed: most volumes have no patterns.
            import pathspec

            try:
                self._spec = pathspec.GitIgnoreSpec.from_lines(self.patterns)
            except ValueError as error:
                raise ConfigError(f"exclude: {error}") from error

    def __bool__(self) -> bool:
        return self._spec is not None

    def matches(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether the path, relative to the root, is excluded. The root never is."""
        if self._spec is None or not path:
            return False
        return self._spec.match_file(os.fsdecode(path) + ("/" if is_directory else ""))

    def depends_on_parents(self) -> bool:
        """Whether a file may become excluded, or not, because a directory above it is renamed."""
        return any("/" in pattern.rstrip("/") for pattern in self.patterns)
