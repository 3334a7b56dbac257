"""One volume's life, with stand-ins for mirror and FUSE session; sockets, signals and files are real."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import trio

from twinfs.daemon import lock
from twinfs.daemon.client import ControlClient, RemoteError
from twinfs.daemon.events import EventLog
from twinfs.daemon.protocol import SetModeRequest
from twinfs.daemon.supervisor import Supervisor
from twinfs.errors import ControlError, LegNotMountedError, MountError
from twinfs.model import Mode, Verdict
from unit.daemon.fakes import FakeSession, FakeVolume, make_paths, make_request
from unit.daemon.test_channels import script


class Life:
    """A supervisor that runs in the background of a test, and what became of it."""

    def __init__(self, base):
        self.paths = make_paths(base)
        self.paths.make_volume_dir("pair")
        self.request = make_request(base)
        self.volume = FakeVolume(self.request.config)
        self.session = FakeSession()
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.error = None

    def configure(self, **settings):
        self.request = replace(self.request, config=replace(self.request.config, **settings))

    def start(self, nursery):
        nursery.start_soon(self._run)

    async def _run(self):
        supervisor = Supervisor(self.paths, self.request, self.volume, self.session.serve)
        try:
            await supervisor.run(self.ready.set)
        except Exception as error:  # noqa: BLE001  kept for the test
            self.error = error
        self.ended.set()

    async def end(self):
        with trio.fail_after(5):
            await self.ended.wait()

    async def ask(self, work):
        def run():
            with ControlClient(self.paths, "pair") as client:
                return work(client)

        with trio.fail_after(5):
            return await trio.to_thread.run_sync(run, abandon_on_cancel=True)

    def events(self):
        return [event.kind for event in EventLog(self.paths.events_file("pair"), "pair").read()]


@pytest.fixture
async def life(tmp_path, nursery):
    return Life(tmp_path)


async def test_an_unmounted_volume_is_drained_and_its_socket_removed(life, nursery):
    life.start(nursery)
    await life.ready.wait()
    life.session.unmount.set()
    await life.end()
    assert life.error is None
    assert life.volume.calls == ["run", "close", "closed"]
    assert life.events() == ["mounted", "unmounted"]
    assert not life.paths.socket("pair").exists()


async def test_status_knows_pid_and_mountpoint_while_mounted_and_none_while_draining(life, nursery):
    life.volume.hold_close = trio.Event()
    life.start(nursery)
    await life.ready.wait()
    status = await life.ask(lambda client: client.status())
    assert (status.pid, status.mountpoint) == (os.getpid(), life.request.mountpoint)
    life.session.unmount.set()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert (await life.ask(lambda client: client.status())).mountpoint is None
    life.volume.hold_close.set()
    await life.end()


async def test_whoever_waits_sees_the_drain_and_its_end(life, nursery):
    life.start(nursery)
    await life.ready.wait()

    def wait(client):
        progress = client.wait_for_end(lambda: None)
        trio.from_thread.run_sync(life.session.unmount.set)
        return list(progress)

    positions = await life.ask(wait)
    assert positions[-1].current == "f3"
    await life.end()


async def test_a_failed_drain_is_told_to_the_waiting_and_is_the_daemons_error(life, nursery):
    life.volume.close_error = LegNotMountedError("3 changes are pending")
    life.start(nursery)
    await life.ready.wait()

    def wait(client):
        progress = client.wait_for_end(lambda: None)
        trio.from_thread.run_sync(life.session.unmount.set)
        return list(progress)

    with pytest.raises(RemoteError, match="3 changes are pending"):
        await life.ask(wait)
    await life.end()
    assert isinstance(life.error, ControlError)
    assert life.events() == ["mounted", "unmounted", "error"]


async def test_a_refused_mount_is_the_daemons_error_and_the_volume_is_closed(life, nursery):
    life.session.error = MountError("fusermount3: no")
    life.start(nursery)
    await life.end()
    assert isinstance(life.error, MountError)
    assert not life.ready.is_set()
    assert life.volume.calls == ["run", "close", "closed"]
    assert life.events() == ["error"]


async def test_a_session_that_crashes_ends_the_daemon_but_not_before_the_drain(life, nursery):
    life.session.crash = ZeroDivisionError("bug")
    life.start(nursery)
    await life.ready.wait()
    life.session.unmount.set()
    await life.end()
    assert isinstance(life.error, ZeroDivisionError)
    assert life.volume.calls[-1] == "closed"
    assert life.events() == ["mounted", "error", "unmounted"]


async def test_background_work_that_crashes_ends_the_session(life, nursery):
    async def crash(*, task_status):
        task_status.started()
        await life.ready.wait()
        raise ZeroDivisionError("bug")

    life.volume.run = crash
    life.start(nursery)
    await life.end()
    assert life.session.was_cancelled
    assert isinstance(life.error, ZeroDivisionError)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_the_session_and_drains(life, nursery, number):
    life.start(nursery)
    await life.ready.wait()
    # Nothing is mounted there: the unmount fails, and the session is ended without it.
    os.kill(os.getpid(), number)
    with trio.fail_after(15):
        await life.ended.wait()
    assert life.error is None
    assert life.session.was_cancelled
    assert life.volume.calls[-1] == "closed"


async def test_a_signal_while_draining_leaves_the_rest_for_the_next_start(life, nursery):
    life.volume.hold_close = trio.Event()
    life.start(nursery)
    await life.ready.wait()
    life.session.unmount.set()
    await trio.testing.wait_all_tasks_blocked(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    await life.end()
    assert "twinfs sync pair" in str(life.error)
    assert "closed" not in life.volume.calls


async def test_the_mode_is_changed_and_recorded(life, nursery):
    life.start(nursery)
    await life.ready.wait()
    await life.ask(lambda client: client.request(SetModeRequest(Mode.BATCHED, 5.0, None)))
    assert life.volume.mode is Mode.BATCHED
    assert life.events() == ["mounted", "mode_changed"]
    life.session.unmount.set()
    await life.end()


async def test_the_volumes_own_events_are_recorded(life, nursery):
    life.start(nursery)
    await life.ready.wait()
    life.volume.on_event("secondary_failed", "EIO")
    assert life.events() == ["mounted", "secondary_failed"]
    life.session.unmount.set()
    await life.end()


async def test_an_event_that_cannot_be_written_stops_nothing(life, nursery, caplog):
    life.paths.events_file("pair").mkdir()
    life.start(nursery)
    await life.ready.wait()
    life.session.unmount.set()
    await life.end()
    assert life.error is None
    assert "an event could not be written" in caplog.text


async def test_people_are_told_of_the_unmount_before_the_daemon_ends(life, nursery, tmp_path):
    hook = script(tmp_path / "hook", f"sleep 0.2; echo $TWINFS_KIND >> {tmp_path}/heard")
    life.configure(on_event=(str(hook),), metrics_file=str(tmp_path / "pair.prom"))
    life.start(nursery)
    await life.ready.wait()
    life.session.unmount.set()
    await life.end()
    assert (tmp_path / "heard").read_text() == "mounted\nunmounted\n"
    assert 'twinfs_mounted{volume="pair"} 0' in (tmp_path / "pair.prom").read_text()


async def test_a_hook_that_hangs_keeps_nobody_from_anything(life, nursery, tmp_path, monkeypatch):
    monkeypatch.setattr("twinfs.daemon.herald._FAREWELL_SECONDS", 0.3)
    life.configure(on_event=(str(script(tmp_path / "hook", "exec sleep 1000")),))
    life.start(nursery)
    await life.ready.wait()
    status = await life.ask(lambda client: client.status())
    assert status.mountpoint == life.request.mountpoint
    life.session.unmount.set()
    await life.end()
    assert life.error is None
    assert life.volume.calls[-1] == "closed"


async def test_people_are_told_when_a_disk_that_hangs_has_taken_every_thread(life, nursery, tmp_path):
    hook = script(tmp_path / "hook", f"echo $TWINFS_KIND >> {tmp_path}/heard")
    life.configure(on_event=(str(hook),), metrics_file=str(tmp_path / "pair.prom"))
    limiter = trio.to_thread.current_default_thread_limiter()
    life.start(nursery)
    await life.ready.wait()
    while limiter.available_tokens:
        limiter.acquire_on_behalf_of_nowait(object())
    life.session.unmount.set()
    await life.end()
    assert (tmp_path / "heard").read_text() == "mounted\nunmounted\n"
    assert 'twinfs_mounted{volume="pair"} 0' in (tmp_path / "pair.prom").read_text()


async def test_a_test_event_goes_through_the_daemons_channels(life, nursery, tmp_path):
    hook = script(tmp_path / "hook", f"echo $TWINFS_KIND >> {tmp_path}/heard")
    life.configure(on_event=(str(hook),))
    life.start(nursery)
    await life.ready.wait()
    found = await life.ask(lambda client: client.test_events())
    assert {channel.channel: channel.verdict for channel in found}["hook"] is Verdict.OK
    assert "test" in (tmp_path / "heard").read_text().split()
    life.session.unmount.set()
    await life.end()
    assert sorted((tmp_path / "heard").read_text().split()) == ["mounted", "test", "unmounted"]
    assert life.events() == ["mounted", "test", "unmounted"]


async def test_systemd_is_told_when_ready_and_when_stopping(life, nursery, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as manager:
        await manager.bind(str(tmp_path / "notify"))
        life.start(nursery)
        await life.ready.wait()
        assert await manager.recv(100) == b"READY=1"
        life.session.unmount.set()
        assert await manager.recv(100) == b"STOPPING=1"
        await life.end()


async def test_the_lock_is_the_callers_business(life, nursery):
    life.start(nursery)
    await life.ready.wait()
    assert not lock.is_held(life.paths, "pair")
    life.session.unmount.set()
    await life.end()
