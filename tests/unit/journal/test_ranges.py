"""Byte ranges, against a naive set of bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinfs.journal import ranges as module
from twinfs.journal.ranges import BLOCK_BYTES, MAX_RANGES, Ranges, rounded

pairs = st.tuples(st.integers(0, 60), st.integers(1, 15)).map(lambda pair: (pair[0], pair[0] + pair[1]))
additions = st.lists(pairs, max_size=40)


def build(added: list[tuple[int, int]]) -> tuple[Ranges, set[int]]:
    ranges, model = Ranges(), set[int]()
    for start, end in added:
        ranges.add(start, end)
        model.update(range(start, end))
    return ranges, model


def bytes_of(ranges: Ranges) -> set[int]:
    return {byte for start, end in ranges for byte in range(start, end)}


@given(additions)
def test_ranges_hold_exactly_what_was_added_sorted_and_apart(added: list[tuple[int, int]]) -> None:
    ranges, model = build(added)
    assert bytes_of(ranges) == model
    assert bool(ranges) == bool(model)
    found = list(ranges)
    assert all(start < end for start, end in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))


@given(additions, pairs)
def test_covers_says_what_the_set_says(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    ranges, model = build(added)
    assert ranges.covers(*asked) == set(range(*asked)).issubset(model)


@given(additions, st.integers(0, 80))
def test_total_counts_the_bytes_below_the_size(added: list[tuple[int, int]], size: int) -> None:
    ranges, model = build(added)
    assert ranges.total_bytes(size) == len([byte for byte in model if byte < size])


def test_an_open_end_is_cut_at_the_size() -> None:
    ranges = Ranges()
    ranges.add(10, Ranges.OPEN_END)
    assert ranges.total_bytes(25) == 15
    assert ranges.total_bytes(5) == 0
    assert ranges.covers(1000, Ranges.OPEN_END)


def test_too_many_ranges_become_one_that_covers_them_all() -> None:
    ranges = Ranges()
    for index in range(MAX_RANGES + 1):
        ranges.add(index * 10, index * 10 + 1)
    assert list(ranges) == [(0, MAX_RANGES * 10 + 1)]


@given(additions)
def test_with_a_small_bound_nothing_that_was_added_is_lost(added: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_RANGES", 3)
        ranges, model = build(added)
    assert model <= bytes_of(ranges)
    assert len(list(ranges)) <= 3


@given(st.integers(0, 1 << 40), st.integers(1, 1 << 30))
def test_rounding_goes_outwards_by_less_than_a_block(start: int, length: int) -> None:
    low, high = rounded(start, start + length)
    assert low <= start < start + length <= high
    assert start - low < BLOCK_BYTES and high - start - length < BLOCK_BYTES
    assert low % BLOCK_BYTES == high % BLOCK_BYTES == 0
