"""What is added to libfuse's answer to the kernel; struct fuse_init_in and fuse_init_out of linux/fuse.h."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinfs.errors import MountError
from twinfs.fuse import handshake
from twinfs.fuse.handshake import amended

ASYNC_READ, DONT_MASK, CACHE_SYMLINKS, KILLPRIV_V2 = 1 << 0, 1 << 6, 1 << 23, 1 << 28
WANTED = DONT_MASK | CACHE_SYMLINKS | KILLPRIV_V2
FLAGS = st.integers(0, 2**32 - 1)


def request(offered: int) -> bytes:
    """A header (len, opcode 26, unique, nodeid, uid, gid, pid, 0) and major, minor, readahead, flags."""
    return struct.pack("=IIQQIIII", 104, 26, 2, 0, 0, 0, 0, 0) + struct.pack("=IIII", 7, 39, 65536, offered)


def answer(accepted: int, rest: bytes = bytes(48)) -> bytes:
    """A header (len, error, unique) and major, minor, max_readahead, flags."""
    return struct.pack("=IiQ", 80, 0, 2) + struct.pack("=IIII", 7, 39, 65536, accepted) + rest


def flags_of(message: bytes) -> int:
    return int(struct.unpack_from("=I", message, 28)[0])


@given(FLAGS, FLAGS)
def test_what_we_want_is_accepted_where_it_is_offered_and_nothing_else_changes(
    offered: int, accepted: int
) -> None:
    before = answer(accepted, bytes(range(48)))
    after = amended(request(offered), before)
    assert flags_of(after) == accepted | (offered & WANTED)
    assert after[:28] == before[:28] and after[32:] == before[32:]


def test_nothing_is_accepted_that_an_older_kernel_does_not_know() -> None:
    assert amended(request(ASYNC_READ), answer(ASYNC_READ)) == answer(ASYNC_READ)


@pytest.mark.parametrize("length", [0, 16, 31])
def test_an_answer_without_flags_is_passed_on_as_it_is(length: int) -> None:
    """The answer to a kernel of another major version, or an error, is shorter."""
    assert amended(request(WANTED), answer(0)[:length]) == answer(0)[:length]


def test_a_short_request_offers_nothing() -> None:
    assert amended(request(WANTED)[:52], answer(ASYNC_READ)) == answer(ASYNC_READ)


def test_a_missing_fusermount_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "FUSERMOUNT", "no-such-fusermount3")
    with pytest.raises(MountError, match=r"no-such-fusermount3 is missing; install the package fuse3"):
        handshake.mount("/nowhere", ["rw"])
