"""What goes over the control socket."""

from __future__ import annotations

import json

import msgspec
import pytest

from twinfs.daemon import protocol
from twinfs.model import Mode, Progress
from twinfs.report import json_lines
from unit.daemon.fakes import FakeVolume, make_config


@pytest.mark.parametrize(
    "request_",
    [
        protocol.StatusRequest(),
        protocol.SyncRequest(),
        protocol.WaitRequest(),
        protocol.SetModeRequest(Mode.BATCHED, 5.0, None),
    ],
)
def test_a_request_is_one_line_and_reads_back(request_):
    line = protocol.encode(request_)
    assert line.count(b"\n") == 1
    assert protocol.decode_request(line) == request_


def test_a_status_crosses_the_wire_unchanged(tmp_path):
    status = FakeVolume(make_config(tmp_path)).status(pid=1, mountpoint="/mnt")
    line = protocol.encode(protocol.StatusReply.from_status(status))
    assert protocol.decode_reply(line).to_status() == status
    assert json.loads(line) == json.loads(json_lines.line(json_lines.status_dict(status)))


def test_progress_crosses_the_wire_with_names_made_readable():
    progress = Progress("copying", 1, 2, 3, 4, "caf\udce9")
    reply = protocol.decode_reply(protocol.encode(protocol.ProgressReply.from_progress(progress)))
    assert reply.to_progress() == Progress("copying", 1, 2, 3, 4, r"caf\xe9")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"type":"nothing"}',
        b'{"type":"set_mode","mode":"fast"}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_junk_is_no_request(line):
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
        protocol.decode_request(line)
