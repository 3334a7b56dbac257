"""One event, to everybody; whatever fails on the way is not the volume's trouble."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from twinfs.daemon.events import EventLog
from twinfs.daemon.herald import Herald
from twinfs.daemon.syslog import SEVERITY
from twinfs.errors import LegNotMountedError
from twinfs.model import Severity
from unit.daemon.fakes import FakeVolume, make_config, make_paths
from unit.daemon.test_channels import script


class Place:
    """A volume's settings and files, with a hook that keeps the kinds it hears of."""

    def __init__(self, base):
        self.base = base
        self.paths = make_paths(base)
        self.paths.make_volume_dir("pair")
        hook = script(base / "hook", f"echo $TWINFS_KIND $TWINFS_STATE >> {base}/heard")
        self.config = replace(make_config(base), on_event=(str(hook),))
        self.volume = FakeVolume(self.config)

    def herald(self, status=None):
        return Herald(
            self.paths, self.config, status or (lambda: self.volume.status(pid=1, mountpoint="/mnt"))
        )

    def kinds(self):
        return [event.kind for event in EventLog(self.paths.events_file("pair"), "pair").read()]

    def heard(self):
        path = self.base / "heard"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_an_event_is_kept_logged_counted_and_handed_on(place, caplog):
    caplog.set_level(logging.INFO)
    herald = place.herald()
    woken = []
    herald.on_told = lambda: woken.append(1)
    herald.tell("mounted", "at /mnt")
    herald.tell("secondary_failed", "EIO")
    herald.close()
    assert place.kinds() == ["mounted", "secondary_failed"]
    assert place.heard() == ["mounted clean", "secondary_failed clean"]
    assert [getattr(record, SEVERITY, None) for record in caplog.records] == [Severity.INFO, Severity.ERROR]
    assert "volume pair: secondary_failed: EIO" in caplog.text
    assert herald.counters().events == {Severity.INFO: 1, Severity.ERROR: 1}
    assert herald.counters().not_told == {"hook": 0}
    assert len(woken) == 2


def test_a_disks_failure_is_no_error_of_ours_in_our_own_log(place, caplog):
    caplog.set_level(logging.INFO)
    herald = place.herald()
    herald.tell("secondary_failed", "EIO")
    herald.close()
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_a_full_state_disk_does_not_keep_people_from_being_told(place, caplog):
    place.paths.events_file("pair").mkdir()
    herald = place.herald()
    herald.tell("secondary_failed", "EIO")
    herald.close()
    assert place.heard() == ["secondary_failed clean"]
    assert "an event could not be written" in caplog.text


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), LegNotMountedError("gone")])
def test_people_are_told_when_the_state_itself_cannot_be_found_out(place, error):
    def fail():
        raise error

    herald = place.herald(fail)
    herald.tell("error", "the primary is gone")
    herald.close()
    assert place.heard() == ["error"]


def test_a_hook_that_fails_is_counted(place, caplog):
    script(place.base / "hook", "echo no display; exit 7")
    herald = place.herald()
    herald.tell("mounted", "at /mnt")
    herald.close()
    assert herald.counters().not_told == {"hook": 1}
    assert "exit code 7\n  no display" in caplog.text
    assert place.kinds() == ["mounted"]


def test_without_channels_the_state_is_not_asked_for(place):
    place.config = replace(place.config, on_event=())
    herald = place.herald(lambda: pytest.fail("asked for nothing"))
    herald.tell("mounted", "at /mnt")
    herald.close()
    assert place.kinds() == ["mounted"]
