"""What is expected of a leg."""

from __future__ import annotations

import pytest

from twinfs.mirror import meter
from twinfs.mirror.meter import LegMeter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(meter, "time", made)
    return made


def serve(
    leg: LegMeter, clock: Clock, seconds: float, count: int = 20, size: int = 4096, *, is_seek: bool = True
) -> None:
    for _ in range(count):
        asked = leg.begin(size, is_seek=is_seek)
        clock.now += seconds
        leg.end(asked)


def expected(leg: LegMeter, size: int = 4096, *, is_seek: bool = True) -> float:
    return leg.expected_seconds(size, is_seek=is_seek)


def test_a_leg_that_was_never_asked_is_tried(clock: Clock) -> None:
    assert expected(LegMeter()) == 0


def test_it_is_expected_to_do_as_before_and_what_waits_comes_first(clock: Clock) -> None:
    leg = LegMeter()
    serve(leg, clock, 0.01)
    assert expected(leg) == pytest.approx(0.01)
    first, second = leg.begin(4096, is_seek=True), leg.begin(4096, is_seek=True)
    assert expected(leg) == pytest.approx(0.03)
    assert leg.service_seconds(4096, is_seek=True) == pytest.approx(0.01)
    leg.end(first, is_measured=False)
    assert expected(leg) == pytest.approx(0.02)
    leg.end(second, is_measured=False)
    assert expected(leg) == pytest.approx(0.01)


def test_a_seek_costs_what_seeks_have_cost(clock: Clock) -> None:
    leg = LegMeter()
    serve(leg, clock, 0.001, size=1 << 17, is_seek=False)
    serve(leg, clock, 0.011, size=1 << 17)
    assert expected(leg, 1 << 17, is_seek=False) == pytest.approx(0.001)
    assert expected(leg, 1 << 17) == pytest.approx(0.011)


def test_requests_that_wait_together_are_served_one_after_the_other(clock: Clock) -> None:
    leg = LegMeter()
    for _ in range(10):
        asked = [leg.begin(4096, is_seek=True) for _ in range(4)]
        for one in asked:
            clock.now += 0.01
            leg.end(one)
    assert expected(leg) == pytest.approx(0.01)


def test_a_leg_that_was_slow_is_tried_again_some_time(clock: Clock) -> None:
    slow, fast = LegMeter(), LegMeter()
    serve(slow, clock, 0.05)
    serve(fast, clock, 0.01)
    assert expected(slow) > expected(fast)
    for _ in range(30):
        clock.now += 1
        serve(fast, clock, 0.01, count=1)
    assert expected(slow) < expected(fast)


def test_patience_follows_what_a_leg_usually_takes(clock: Clock) -> None:
    leg = LegMeter()
    serve(leg, clock, 0.1, count=10)
    assert leg.patience_seconds() == 1.0, "too few to tell"
    serve(leg, clock, 0.1, count=90)
    assert leg.patience_seconds() == pytest.approx(0.3)
    serve(leg, clock, 0.2, count=5)
    assert leg.patience_seconds() == pytest.approx(0.6)
    serve(leg, clock, 0.0001, count=256)
    assert leg.patience_seconds() == 0.05


def test_what_failed_is_left_alone_for_a_while(clock: Clock) -> None:
    leg = LegMeter()
    assert not leg.is_shunned
    assert leg.shun()
    assert not leg.shun(), "nobody needs to be told twice"
    assert leg.is_shunned
    clock.now += 31
    assert not leg.is_shunned
