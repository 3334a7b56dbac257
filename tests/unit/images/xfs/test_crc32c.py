"""CRC-32C against the vectors of RFC 3720 and against a division bit by bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinfs.images.xfs.crc32c import crc32c


def by_division(data: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_published_values(data, expected):
    assert crc32c(data) == expected


@given(st.binary(max_size=300))
def test_any_short_data(data):
    assert crc32c(data) == by_division(data)


@pytest.mark.parametrize("length", [49, 50, 51, 256, 511, 512, 1024, 4096, 5000, 65536])
def test_every_way_of_folding(length):
    data = bytes(index * index % 251 for index in range(length))
    assert crc32c(data) == by_division(data)
