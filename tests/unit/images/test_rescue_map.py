"""ddrescue's map: compared with a list of bytes, with ddrescuelog's own reading, and with what is no map."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.machine import run, tool
from twinfs.errors import ImageError
from twinfs.images.rescue_map import Block, Position, RescueMap, Status, parse, render

SIZE = 40
STATUSES = st.sampled_from(list(Status))
MARKS = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE), STATUSES), max_size=30)

WRITTEN_BY_DDRESCUE = """\
# Mapfile. Created by GNU ddrescue version 1.27
# Command line: ddrescue /dev/sdb out.img out.map
# Start time:   2024-02-08 06:56:57
# Current time: 2024-02-08 06:56:59
# Copying non-tried blocks... Pass 1 (forwards)
# current_pos  current_status  current_pass
0x00120000     ?               1
#      pos        size  status
0x00000000  0x00117000  +
0x00117000  0x00000200  -
0x00117200  0x00001000  /
0x00118200  0x00007E00  *
0x00120000  0x00048000  ?
"""


def marked(marks) -> tuple[RescueMap, list[Status]]:
    rescue_map, model = RescueMap(SIZE), [Status.NON_TRIED] * SIZE
    for one, other, status in marks:
        start, end = min(one, other), max(one, other)
        rescue_map.mark(start, end, status)
        model[start:end] = [status] * (end - start)
    return rescue_map, model


@given(MARKS)
def test_it_says_of_every_byte_what_was_last_said_of_it(marks):
    rescue_map, model = marked(marks)
    assert [rescue_map.status_at(offset) for offset in range(SIZE)] == model
    for status in Status:
        assert rescue_map.total_bytes(status) == model.count(status)


@given(MARKS)
def test_its_blocks_are_whole_in_order_and_neighbours_differ(marks):
    blocks = list(marked(marks)[0].blocks())
    assert blocks[0].start == 0
    assert blocks[-1].end == SIZE
    for left, right in pairwise(blocks):
        assert left.end == right.start
        assert left.status is not right.status
    assert all(block.length > 0 for block in blocks)


@given(MARKS, st.integers(0, SIZE), st.integers(0, SIZE + 5))
def test_what_is_unfinished_and_what_is_finished_agree(marks, start, end):
    rescue_map, model = marked(marks)
    unfinished = {offset for begin, stop in rescue_map.unfinished() for offset in range(begin, stop)}
    assert unfinished == {offset for offset, status in enumerate(model) if status is not Status.FINISHED}
    is_read = all(offset < SIZE and offset not in unfinished for offset in range(start, end))
    assert rescue_map.is_finished(start, end) == is_read


@given(MARKS, st.integers(0, 1 << 50), st.sampled_from("?*/-FG+"), st.integers(1, 9))
def test_written_and_read_again_it_is_the_same(marks, offset, phase, number):
    rescue_map, _ = marked(marks)
    rescue_map.position = Position(offset, phase, number)
    again = parse(render(rescue_map, ("made by\na test",)))
    assert list(again.blocks()) == list(rescue_map.blocks())
    assert again.position == rescue_map.position


def test_a_map_of_ddrescue_is_read():
    found = parse(WRITTEN_BY_DDRESCUE.encode())
    assert found.position == Position(0x120000, "?", 1)
    assert list(found.blocks())[1:3] == [
        Block(0x117000, 0x117200, Status.BAD),
        Block(0x117200, 0x118200, Status.NON_SCRAPED),
    ]
    assert found.size_bytes == 0x168000
    assert list(found.unfinished()) == [(0x117000, 0x168000)]


def test_an_old_map_with_decimal_and_octal_numbers_and_no_pass_is_read():
    found = parse("# old\n0 +  # status\n0 0x10 +\n16 020 -  # octal\n")
    assert found.position == Position(0, "+", 1)
    assert list(found.blocks()) == [Block(0, 16, Status.FINISHED), Block(16, 32, Status.BAD)]


def test_a_map_that_begins_later_was_not_tried_before():
    found = parse("0 ? 1\n0x100 0x100 +\n")
    assert list(found.blocks()) == [Block(0, 256, Status.NON_TRIED), Block(256, 512, Status.FINISHED)]


def test_ddrescuelog_reads_ours(tmp_path):
    rescue_map = RescueMap(5 << 40)
    rescue_map.mark(0, 3 << 40, Status.FINISHED)
    rescue_map.mark(512, 1024, Status.BAD)
    rescue_map.mark(2048, 8192, Status.NON_SCRAPED)
    rescue_map.mark(1 << 40, 1 << 41, Status.NON_TRIMMED)
    path = tmp_path / "ours.map"
    path.write_text(render(rescue_map, ("a comment",)))
    listed = run(tool("ddrescuelog", "gddrescue"), "--list-blocks=-", "--block-size=512", path).stdout
    assert listed.split() == ["1"]
    shown = run(tool("ddrescuelog", "gddrescue"), "--show-status", path).stdout
    assert "5497 GB" in shown


def test_growing_keeps_what_is_known_and_shrinking_is_none():
    rescue_map = RescueMap(100)
    rescue_map.mark(0, 100, Status.FINISHED)
    rescue_map.extend(150)
    rescue_map.extend(20)
    assert list(rescue_map.blocks()) == [Block(0, 100, Status.FINISHED), Block(100, 150, Status.NON_TRIED)]


@pytest.mark.parametrize(("start", "end"), [(-1, 4), (4, 3), (0, SIZE + 1)])
def test_marking_outside_is_a_mistake_of_the_caller(start, end):
    with pytest.raises(ValueError, match="is not within"):
        RescueMap(SIZE).mark(start, end, Status.BAD)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no status line"),
        ("# only comments\n", "no status line"),
        ("hello world\n", "line 1: no status line"),
        ("0 + x\n", "line 1: no number"),
        ("0 + 1\n0 512\n", "line 2: no block"),
        ("0 + 1\n0 512 %\n", "line 2: no status"),
        ("0 + 1\n0 0 +\n", "line 2: a block cannot be"),
        ("0 + 1\n0 512 +\n1024 512 +\n", "line 3: the block begins at 0x400"),
        ("0 + 1\n0 512 +\n256 512 +\n", "line 3: the block begins at 0x100"),
        ("0 + 1\n0 0x7fffffffffffffff +\n0x7fffffffffffffff 1 +\n", "line 3: a block cannot be"),
        ("0 + 1\n0 0x8000000000000000 +\n", "is beyond any disk"),
        ("0 + 1\n-5 10 +\n", "no number"),
        ("0 + 1\n0 1_000 +\n", "no number"),
        ("0 + 1\n0 089 +\n", "no number"),
        ("0 + 1\n0 " + "9" * 5000 + " +\n", "no number"),
    ],
)
def test_what_is_no_map_is_refused_with_the_line(text, words):
    with pytest.raises(ImageError, match=words):
        parse(text)


@given(st.binary(max_size=200))
def test_nothing_but_an_image_error_comes_of_any_bytes(data):
    try:
        parse(data)
    except ImageError:
        pass
