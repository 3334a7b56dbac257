"""Writing TOML, and changing a line of it."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinfs.daemon import toml_text
from twinfs.errors import ConfigError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(st.from_regex("[a-z_]+", fullmatch=True), TEXTS | st.booleans() | st.lists(TEXTS)))
def test_what_is_written_reads_back_the_same(values):
    assert tomllib.loads(toml_text.document(values)) == values


def test_a_name_that_is_no_utf8_is_refused():
    with pytest.raises(ConfigError, match="UTF-8"):
        toml_text.encode("caf\udce9")


FILE = """\
# my photos
mode = "sync"   # for now
primary = '/mnt/a'
exclude = [
    "mode = x",
]
at="03:30"
"""


def test_a_changed_line_keeps_its_comment_and_every_other_line():
    assert toml_text.edit(FILE, {"mode": "batched"}) == FILE.replace('"sync"', '"batched"')


def test_a_dropped_key_takes_its_line_along():
    assert toml_text.edit(FILE, {"at": None}) == FILE.replace('at="03:30"\n', "")


def test_dropping_what_is_not_there_changes_nothing():
    assert toml_text.edit(FILE, {"interval": None}) == FILE


def test_a_new_key_comes_last():
    assert toml_text.edit(FILE, {"interval": "5s"}) == FILE + 'interval = "5s"\n'


def test_a_new_key_comes_before_a_table_whose_key_it_would_become():
    edited = toml_text.edit('a = "1"\n[b]\nc = 1\n', {"interval": "5s"})
    assert tomllib.loads(edited) == {"a": "1", "interval": "5s", "b": {"c": 1}}


@pytest.mark.parametrize("line", ['"mode" = "sync"', 'mode = """\nsync"""', "mode = 'sy#nc'"])
def test_a_line_that_cannot_be_edited_is_written_anew_without_losing_a_setting(line):
    edited = toml_text.edit(f"primary = '/a'\n{line}\n", {"mode": "batched"})
    assert tomllib.loads(edited) == {"primary": "/a", "mode": "batched"}
