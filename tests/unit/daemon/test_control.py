"""The control socket, both ends for real: a server in trio, blocking clients in threads."""

from __future__ import annotations

import json
import os
import socket

import pytest
import trio

from twinfs.daemon.client import ControlClient, RemoteError
from twinfs.daemon.control import ControlServer
from twinfs.daemon.feed import ProgressFeed
from twinfs.daemon.protocol import MAX_LINE_BYTES, DoneReply, ErrorReply, SetModeRequest, SyncRequest
from twinfs.errors import ControlError, NotMountedError, UsageError
from twinfs.fsio import unix_socket
from twinfs.model import ChannelTest, Mode, Verdict
from unit.daemon.fakes import FakeVolume, make_config, make_paths


class Service:
    """A supervisor's part in the conversation."""

    def __init__(self, volume):
        self.volume = volume
        self.ending = ProgressFeed()

    def status(self):
        return self.volume.status(pid=os.getpid(), mountpoint="/mnt")

    async def refresh(self):
        await self.volume.refresh()

    async def sync(self, on_progress, *, allow_deletes=False):
        await self.volume.sync(on_progress, allow_deletes=allow_deletes)

    async def set_mode(self, mode, interval_seconds, at):
        await self.volume.set_mode(mode, interval_seconds, at)

    async def test_events(self):
        return (ChannelTest("log", Verdict.OK, "written"), ChannelTest("mail", Verdict.OFF, "no mail_to"))


@pytest.fixture
def paths(tmp_path):
    return make_paths(tmp_path)


@pytest.fixture
def service(tmp_path):
    return Service(FakeVolume(make_config(tmp_path)))


@pytest.fixture
async def server(paths, service, nursery):
    await nursery.start(ControlServer(paths.socket("pair"), service).run)


async def in_thread(work):
    with trio.fail_after(10):
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)


def with_client(paths, work):
    def run():
        with ControlClient(paths, "pair") as client:
            return work(client)

    return in_thread(run)


def talk(paths, data):
    """Send bytes, close the sending side, and return every line that comes back."""

    def run():
        with unix_socket.connect(paths.socket("pair"), 5.0) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as lines:
                return [json.loads(line) for line in lines]

    return in_thread(run)


async def test_what_each_channel_did_with_a_test_event_is_answered(server, paths, service):
    found = await with_client(paths, lambda client: client.test_events())
    assert found == await service.test_events()


async def test_status_is_answered(paths, service, server):
    assert await with_client(paths, lambda client: client.status()) == service.status()


async def test_sync_streams_progress_and_ends(paths, service, server):
    positions = await with_client(paths, lambda client: list(client.stream(SyncRequest())))
    assert "sync" in service.volume.calls
    assert [position.step for position in positions][:1] == ["copying"]


async def test_a_failed_sync_carries_its_words_and_exit_code(paths, service, server):
    service.volume.sync_error = UsageError("no")
    with pytest.raises(RemoteError, match=r"^no$") as caught:
        await with_client(paths, lambda client: list(client.stream(SyncRequest())))
    assert caught.value.exit_code == 2


async def test_the_mode_is_changed(paths, service, server):
    request = SetModeRequest(Mode.BATCHED, 5.0, None)
    await with_client(paths, lambda client: client.request(request))
    assert service.volume.calls == ["set_mode batched 5.0 None"]


async def test_an_unexpected_failure_is_answered_logged_and_survived(paths, service, server, caplog):
    service.volume.status = None
    with pytest.raises(RemoteError, match="internal error: TypeError"):
        await with_client(paths, lambda client: client.status())
    assert "a control request failed" in caplog.text
    del service.volume.status
    assert (await with_client(paths, lambda client: client.status())).volume == "pair"


@pytest.mark.parametrize("junk", [b"hello\n", b"\xff\xfe\n", b"{}\n", b"\n", b"[" * 9999 + b"\n"])
async def test_junk_is_answered_with_an_error_and_the_next_request_works(paths, server, junk):
    answers = await talk(paths, junk + b'{"type":"status"}\n')
    assert [answer["type"] for answer in answers] == ["error", "status"]
    assert answers[0]["exit_code"] == 2


async def test_a_line_without_end_is_cut_off(paths, server):
    try:
        assert await talk(paths, b"x" * (MAX_LINE_BYTES * 3)) == []
    except (BrokenPipeError, ConnectionResetError):
        pass  # cut off while it was still sending
    assert (await with_client(paths, lambda client: client.status())).volume == "pair"


async def test_a_half_request_is_dropped(paths, server):
    assert await talk(paths, b'{"type":"sta') == []


async def test_a_client_that_leaves_does_not_stop_the_sync(paths, service, server):
    def leave():
        with unix_socket.connect(paths.socket("pair"), 5.0) as client:
            client.sendall(b'{"type":"sync"}\n')
            client.recv(10)

    service.volume.steps = 30
    await in_thread(leave)
    with trio.fail_after(5):
        await service.volume.synced.wait()


async def test_two_clients_are_served_at_once(paths, service, server):
    service.volume.steps = 20
    async with trio.open_nursery() as nursery:
        nursery.start_soon(with_client, paths, lambda client: list(client.stream(SyncRequest())))
        await with_client(paths, lambda client: client.status())


async def test_who_waits_for_the_end_hears_of_it(paths, service, server):
    noted = trio.Event()
    results = []

    def wait(client):
        progress = client.wait_for_end(lambda: None)
        trio.from_thread.run_sync(noted.set)
        results.extend(progress)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(with_client, paths, wait)
        await noted.wait()
        await service.volume.close(service.ending.publish)
        service.ending.finish(DoneReply())
    assert [position.current for position in results][-1:] == ["f3"]


async def test_who_waits_for_the_end_hears_of_a_failed_drain(paths, service, server):
    service.ending.finish(ErrorReply("3 changes are pending"))
    with pytest.raises(RemoteError, match="3 changes are pending"):
        await with_client(paths, lambda client: list(client.wait_for_end(lambda: None)))


async def test_a_daemon_that_dies_meanwhile_is_an_error(paths, service):
    async with trio.open_nursery() as daemon:
        await daemon.start(ControlServer(paths.socket("pair"), service).run)

        def wait(client):
            progress = client.wait_for_end(lambda: None)
            trio.from_thread.run_sync(daemon.cancel_scope.cancel)
            return list(progress)

        with trio.CancelScope(shield=True), pytest.raises(ControlError, match="ended before it answered"):
            await with_client(paths, wait)


async def test_without_a_daemon_the_volume_is_not_mounted(paths):
    with pytest.raises(NotMountedError, match="twinfs mount pair"):
        ControlClient(paths, "pair")
    unix_socket.listen(paths.socket("pair")).close()
    with pytest.raises(NotMountedError):
        ControlClient(paths, "pair")


async def test_the_socket_is_removed_at_the_end(paths, service):
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(paths.socket("pair"), service).run)
        assert paths.socket("pair").exists()
        nursery.cancel_scope.cancel()
    assert not paths.socket("pair").exists()
