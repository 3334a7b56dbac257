"""The JSON that docs/interface.md promises, name by name."""

from __future__ import annotations

import json

from twinfs.model import Event, LegState, LegStatus, Mode, Pending, Role, VolumeState, VolumeStatus
from twinfs.report import json_lines

STATUS = VolumeStatus(
    volume="photos",
    pid=None,
    state=VolumeState.DIRTY,
    mode=Mode.BATCHED,
    mountpoint=None,
    legs=(LegStatus(Role.PRIMARY, "/mnt/é", LegState.IN_SYNC, 10, 5),),
    pending=Pending(1, 2, 0.5),
    last_scrub=None,
    action=None,
)


def test_status_is_one_line_with_the_promised_fields_in_order():
    line = json_lines.line(json_lines.status_dict(STATUS))
    assert "\n" not in line
    assert json.loads(line) == {
        "type": "status",
        "volume": "photos",
        "pid": None,
        "state": "dirty",
        "mode": "batched",
        "mountpoint": None,
        "legs": [
            {"role": "primary", "path": "/mnt/é", "state": "in_sync", "total_bytes": 10, "free_bytes": 5}
        ],
        "pending": {"changes": 1, "bytes": 2, "lag_seconds": 0.5},
        "last_scrub": None,
        "action": None,
        "unreached": [],
        "versions": None,
        "quarantine": {"objects": 0, "bytes": 0, "since": None},
    }
    assert line.startswith('{"type":"status","volume":"photos"')


def test_an_event_says_its_type_first():
    event = Event(time=1.5, volume="photos", kind="mounted", message="at /mnt/hd1")
    assert json_lines.line(json_lines.event_dict(event)) == (
        '{"type":"event","time":1.5,"volume":"photos","kind":"mounted","message":"at /mnt/hd1"}'
    )
