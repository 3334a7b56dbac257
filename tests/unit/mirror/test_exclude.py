"""Which paths live on the primary only."""

from __future__ import annotations

import pytest

from twinfs.errors import ConfigError
from twinfs.mirror.exclude import Excludes


@pytest.mark.parametrize(
    ("patterns", "path", "is_directory", "is_excluded"),
    [
        (["*.tmp"], b"a.tmp", False, True),
        (["*.tmp"], b"d/e/a.tmp", False, True),
        (["*.tmp"], b"a.tmpx", False, False),
        (["/cache/"], b"cache", True, True),
        (["/cache/"], b"cache", False, False),
        (["/cache/"], b"cache/deep/below", False, True),
        (["/cache/"], b"d/cache", True, False),
        (["*.tmp", "!keep.tmp"], b"keep.tmp", False, False),
        (["d/*.log"], b"d/a.log", False, True),
        (["d/*.log"], b"d/e/a.log", False, False),
        (["*"], b"", True, False),
        (["caf\udce9"], b"caf\xe9", False, True),
        ([], b"a.tmp", False, False),
    ],
)
def test_patterns_are_gitignores(
    patterns: list[str], path: bytes, is_directory: bool, is_excluded: bool
) -> None:
    assert Excludes(patterns).matches(path, is_directory=is_directory) is is_excluded


def test_no_patterns_exclude_nothing_and_are_false() -> None:
    assert not Excludes([])
    assert Excludes(["*.tmp"])


@pytest.mark.parametrize(
    ("pattern", "depends"), [("*.tmp", False), ("cache/", False), ("/cache", True), ("d/*.log", True)]
)
def test_only_patterns_with_a_slash_depend_on_the_directories_above(pattern: str, depends: bool) -> None:
    assert Excludes([pattern]).depends_on_parents() is depends


def test_a_pattern_that_is_none_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="exclude"):
        Excludes(["!"])
