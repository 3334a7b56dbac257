"""The syntax of LVM2's metadata."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinfs.errors import ImageError
from twinfs.images.lvm.text import parse


def test_values_sections_lists_and_comments():
    text = """
    # a comment
    vg { id = "a-b" # "another" {
        size = 12  ratio = 1.5  negative = -3
        names = ["one", 2, "th\\"ree\\\\",]  empty = []
        inner { deeper { x = "}" } }
        0 { y = word/with.dots }
    }
    contents = "Text
over lines"
    """
    assert parse(text) == {
        "vg": {
            "id": "a-b",
            "size": 12,
            "ratio": 1.5,
            "negative": -3,
            "names": ["one", 2, 'th"ree\\'],
            "empty": [],
            "inner": {"deeper": {"x": "}"}},
            "0": {"y": "word/with.dots"},
        },
        "contents": "Text\nover lines",
    }


@pytest.mark.parametrize("text", ["", " ", "# only a comment"])
def test_nothing_is_an_empty_section(text):
    assert parse(text) == {}


@pytest.mark.parametrize(
    "text",
    ["}", "a", "a =", "a = }", "a = [", "a = [1,,2]", "a = [[1]]", "a {", "a { b", '"a" = 1', "= 1", "a = \"",
     "a ! 1", "a b", "a {} }", "a { " * 30, "a = 1 ="],
)  # fmt: skip
def test_what_is_wrong_is_refused(text):
    with pytest.raises(ImageError, match="lvm: metadata is damaged"):
        parse(text)


@given(st.text(alphabet='ab01.-{}[]=,"\\# \n', max_size=60))
def test_any_text_gives_a_section_or_an_error_of_ours(text):
    try:
        assert isinstance(parse(text), dict)
    except ImageError as error:
        assert str(error).startswith("lvm: ")
