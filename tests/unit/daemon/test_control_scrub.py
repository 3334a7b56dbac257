"""A scrub over the control socket: its mismatches, its end, and what ends it."""

from __future__ import annotations

import pytest
import trio

from twinfs.daemon.client import ControlClient, RemoteError
from twinfs.daemon.control import ControlServer
from twinfs.daemon.feed import ProgressFeed
from twinfs.daemon.protocol import ScrubRequest, StatusRequest, encode
from twinfs.errors import ScrubError
from twinfs.fsio import unix_socket
from twinfs.model import BadLeg, Mismatch, MismatchKind, Progress, ReadMethod, ScrubRun
from unit.daemon.fakes import FakeVolume, make_config, make_paths

MISMATCHES = [
    Mismatch(f"path-{number}\udcff", MismatchKind.CONTENT, BadLeg.PRIMARY, repaired=True, detail="bytes")
    for number in range(50)
]
READ = (ReadMethod.DIRECT, ReadMethod.DROPPED)
RUN = ScrubRun(1.0, 2.0, "full", 5, 6, 50, 50, 0, 1.0, READ)


class Service:
    """Scrubs without a disk."""

    def __init__(self, volume):
        self._volume = volume
        self.ending = ProgressFeed()
        self.request = None
        self.begun, self.ended = trio.Event(), trio.Event()
        self.is_endless = False
        self.error = None

    def status(self):
        return self._volume.status(pid=1, mountpoint="/mnt")

    async def refresh(self):
        """It has no disk to ask."""

    async def scrub(self, request, on_progress, on_mismatch):
        self.request = request
        self.begun.set()
        try:
            if self.error is not None:
                raise self.error
            if self.is_endless:
                await trio.sleep_forever()
            for mismatch in MISMATCHES:
                on_progress(Progress("reading", 1, 2, 3, 4, "here"))
                await on_mismatch(mismatch)
            return RUN
        finally:
            self.ended.set()


@pytest.fixture
def service(tmp_path):
    return Service(FakeVolume(make_config(tmp_path)))


@pytest.fixture
async def paths(tmp_path, service, nursery):
    made = make_paths(tmp_path)
    await nursery.start(ControlServer(made.socket("pair"), service).run)
    return made


async def scrub(paths, request):
    """(mismatches, the run), from a blocking client in a thread."""
    found = []

    def run():
        with ControlClient(paths, "pair") as client:
            done = client.scrub(request, lambda progress: None, found.append)
            assert client.status().volume == "pair", "the connection can be used again"
            return done

    with trio.fail_after(10):
        return found, await trio.to_thread.run_sync(run, abandon_on_cancel=True)


async def test_no_mismatch_is_lost_on_the_way(paths, service):
    request = ScrubRequest("8%", repair=True, max_rate=5.0)
    found, run = await scrub(paths, request)
    assert [mismatch.path for mismatch in found] == [f"path-{number}\\xff" for number in range(50)]
    assert found[0].bad_leg is BadLeg.PRIMARY
    assert run == RUN
    assert service.request == request


async def test_a_failure_is_told_with_its_exit_code(paths, service):
    service.error = ScrubError("no secondary")
    with pytest.raises(RemoteError, match="no secondary") as raised:
        await scrub(paths, ScrubRequest("full"))
    assert raised.value.exit_code == 8


async def test_a_client_that_goes_away_ends_its_scrub_but_not_the_server(paths, service):
    service.is_endless = True
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(unix_socket.connect(paths.socket("pair"), 5.0)))
    with trio.fail_after(10):
        await stream.send_all(encode(ScrubRequest("full")))
        await service.begun.wait()
        await stream.aclose()
        await service.ended.wait()
    service.is_endless = False
    assert (await scrub(paths, ScrubRequest("full")))[1] == RUN


async def test_a_request_that_is_sent_meanwhile_is_answered_afterwards(paths, service):
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(unix_socket.connect(paths.socket("pair"), 5.0)))
    received = b""
    with trio.fail_after(10):
        await stream.send_all(encode(ScrubRequest("full")) + encode(StatusRequest()))
        while b'"type":"status"' not in received or not received.endswith(b"\n"):
            received += await stream.receive_some()
        await stream.aclose()
    assert received.index(b'"type":"scrubbed"') < received.index(b'"type":"status"')
