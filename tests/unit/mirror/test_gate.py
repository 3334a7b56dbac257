"""The gate that calls pass, and that closes while roles change."""

from __future__ import annotations

import trio

from twinfs.mirror.gate import Gate


async def test_nobody_comes_in_while_it_is_closed_and_all_do_afterwards(autojump_clock) -> None:
    gate = Gate()
    passed: list[int] = []

    async def call(number: int) -> None:
        await gate.wait()
        passed.append(number)

    async with trio.open_nursery() as nursery, gate.closed() as all_are_out:
        assert all_are_out and gate.is_closed
        for number in range(3):
            nursery.start_soon(call, number)
        await trio.sleep(10)
        assert passed == []
    assert sorted(passed) == [0, 1, 2]


async def test_who_is_inside_is_waited_for(autojump_clock) -> None:
    gate = Gate()
    gate.inside += 1

    async def leave() -> None:
        await trio.sleep(1)
        gate.inside -= 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        begun = trio.current_time()
        async with gate.closed() as all_are_out:
            assert all_are_out
            assert trio.current_time() - begun >= 1


async def test_who_hangs_inside_is_left_alone_after_a_while(autojump_clock) -> None:
    gate = Gate()
    gate.inside += 1
    async with gate.closed() as all_are_out:
        assert not all_are_out
