"""What needs a person: told once it lasts, every day, across restarts, whatever the clocks do."""

from __future__ import annotations

import pytest

from twinfs.daemon.reminders import Reminders
from twinfs.model import LegState
from unit.report.test_attention import HEALTHY, out

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
BAD, WORSE = out(LegState.MISSING), out(LegState.WRONG_DISK)


class World:
    """Two clocks, a file, and whoever is told."""

    def __init__(self, path):
        self.path = path
        self.wall, self.boot = 1_700_000_000.0, 100.0
        self.told = []
        self.start()

    def start(self):
        self.reminders = Reminders(
            self.path,
            lambda kind, message: self.told.append((kind, message)),
            wall_clock=lambda: self.wall,
            clock=lambda: self.boot,
        )

    def pass_time(self, seconds, status):
        """Look every half minute, as the daemon does."""
        end = self.boot + seconds
        while self.boot < end:
            self.boot += 30
            self.wall += 30
            self.reminders.look(status)

    def kinds(self):
        told, self.told = self.told, []
        return [kind for kind, _ in told]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "reminders.json")


def test_a_disk_that_is_away_for_a_moment_needs_nobody(world):
    for _ in range(5):
        world.pass_time(45, BAD)
        world.pass_time(45, HEALTHY)
    assert world.kinds() == []


def test_a_trouble_that_lasts_is_told_once_and_then_daily(world):
    world.pass_time(5 * MINUTE, BAD)
    assert "the secondary is missing" in world.told[0][1]
    assert world.kinds() == ["needs_attention"]
    world.pass_time(DAY - HOUR, BAD)
    assert world.kinds() == []
    world.pass_time(2 * HOUR, BAD)
    assert world.kinds() == ["needs_attention"]
    world.pass_time(3 * DAY, BAD)
    assert world.kinds() == ["needs_attention"] * 3


def test_its_end_is_told_once(world):
    world.pass_time(5 * MINUTE, BAD)
    world.pass_time(DAY * 2, HEALTHY)
    assert world.kinds() == ["needs_attention", "attention_over"]


def test_another_trouble_is_told_at_once(world):
    world.pass_time(5 * MINUTE, BAD)
    world.pass_time(5 * MINUTE, WORSE)
    assert "wrong_disk" in world.told[1][1]
    assert world.kinds() == ["needs_attention", "needs_attention"]
    # And the first again: it is known since minutes.
    world.pass_time(HOUR * 3, BAD)
    assert world.kinds() == []


def test_restarts_repeat_nothing(world):
    world.pass_time(5 * MINUTE, BAD)
    world.kinds()
    for _ in range(20):
        world.start()
        world.pass_time(10 * MINUTE, BAD)
    assert world.kinds() == []
    world.pass_time(DAY, BAD)
    assert world.kinds() == ["needs_attention"]


def test_a_restart_that_first_looks_healthy_or_different_repeats_nothing(world):
    world.pass_time(5 * MINUTE, WORSE)
    world.kinds()
    for first in (HEALTHY, BAD):
        world.start()
        world.pass_time(30, first)
        world.pass_time(10 * MINUTE, WORSE)
    assert world.kinds() == []


def test_a_day_without_the_daemon_counts(world):
    world.pass_time(5 * MINUTE, BAD)
    world.kinds()
    world.wall += 3 * DAY
    world.boot = 10.0  # the machine was started again
    world.start()
    world.pass_time(5 * MINUTE, BAD)
    assert world.kinds() == ["needs_attention"]


def test_an_end_while_the_daemon_was_away_is_told(world):
    world.pass_time(5 * MINUTE, BAD)
    world.start()
    world.pass_time(5 * MINUTE, HEALTHY)
    assert world.kinds() == ["needs_attention", "attention_over"]


def test_a_trouble_that_comes_and_goes_all_day_is_told_hourly_at_most(world):
    for _ in range(48):
        world.pass_time(5 * MINUTE, BAD)
        world.pass_time(5 * MINUTE, HEALTHY)
    assert world.kinds() == ["needs_attention", "attention_over"] * 8


@pytest.mark.parametrize("jump", [-40 * 365 * DAY, -DAY, DAY, 40 * 365 * DAY])
def test_a_jump_of_the_wall_clock_neither_silences_nor_repeats(world, jump):
    world.pass_time(5 * MINUTE, BAD)
    world.kinds()
    world.wall += jump
    world.pass_time(DAY - HOUR, BAD)
    assert world.kinds() == []
    world.pass_time(2 * HOUR, BAD)
    assert world.kinds() == ["needs_attention"]


def test_a_clock_set_back_before_a_restart_silences_for_a_day_at_most(world):
    world.pass_time(5 * MINUTE, BAD)
    world.kinds()
    world.wall -= 40 * 365 * DAY
    world.start()
    world.pass_time(DAY - HOUR, BAD)
    assert world.kinds() == []
    world.pass_time(2 * HOUR, BAD)
    assert world.kinds() == ["needs_attention"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"told": {"x": "y"}}', b"\xff\xfe\x00"])
def test_a_damaged_file_costs_one_reminder(world, content, caplog):
    world.pass_time(5 * MINUTE, BAD)
    world.kinds()
    world.path.write_bytes(content)
    world.start()
    assert "what was told is not known" in caplog.text
    world.pass_time(HOUR, BAD)
    assert world.kinds() == ["needs_attention"]


def test_a_state_directory_that_is_full_stops_nothing(world, caplog):
    world.path.mkdir()
    world.start()
    world.pass_time(2 * HOUR, BAD)
    assert world.kinds() == ["needs_attention"]
    assert "reminders.json" in caplog.text


def test_something_is_new_once_an_hour_whoever_asks(world):
    assert world.reminders.is_new("mount_failed")
    world.start()
    assert not world.reminders.is_new("mount_failed")
    world.wall += HOUR
    world.start()
    assert world.reminders.is_new("mount_failed")


def test_the_file_stays_small(world):
    for number in range(200):
        world.reminders.is_new(str(number))
    assert world.path.stat().st_size < 2000
