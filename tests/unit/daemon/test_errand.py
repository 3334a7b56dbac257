"""Orders that need nothing but the daemon; the client takes over what lasts or fails."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from twinfs.cli.main import run
from twinfs.cli.plain import SHAPES, request_of
from twinfs.daemon import errand, protocol
from twinfs.daemon.client import ControlClient, RemoteError
from twinfs.daemon.errand import Errand
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import DoneReply, ErrorReply, ProgressReply, RecoveredReply, RecoverRequest, Reply
from twinfs.fsio import unix_socket
from twinfs.model import Action, Order, Survey
from unit.daemon.fakes import make_paths

SYNC = {"type": "sync", "allow_deletes": False}
PROGRESS = ProgressReply("copying", 1, 2, 3, 4, "a")


@pytest.fixture
def paths(tmp_path) -> Paths:
    return make_paths(tmp_path)


@contextmanager
def daemon(paths: Paths, replies: Sequence[Reply | threading.Event]) -> Iterator[list[bytes]]:
    """Answers one connection with these, waiting for each event among them. Tells what was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(1 << 16))
            for reply in replies:
                if isinstance(reply, threading.Event):
                    reply.wait(10)
                else:
                    connection.sendall(protocol.encode(reply))
            while more := connection.recv(1 << 16):
                asked.append(more)

    with unix_socket.listen(paths.socket("pair")) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join(10)


def ask(paths: Paths) -> str | Errand | None:
    return errand.run(str(paths.run_dir), "pair", SYNC)


@pytest.mark.parametrize("command", sorted(SHAPES.keys() - {"status"}))
def test_what_is_sent_is_what_the_client_would_send(command: str) -> None:
    sent = protocol.decode_request(json.dumps(request_of(command, "primary", allow_deletes=True)).encode())
    if command == "sync":
        assert sent == protocol.SyncRequest(allow_deletes=True)
    else:
        assert sent == RecoverRequest(Order(Action(command), "primary"))


@pytest.mark.parametrize(
    ("last", "message"), [(DoneReply(), ""), (RecoveredReply("it is back"), "it is back")]
)
def test_what_is_done_at_once_is_all(paths: Paths, last: Reply, message: str) -> None:
    with daemon(paths, [PROGRESS, PROGRESS, last]) as asked:
        assert ask(paths) == message
    assert [json.loads(each) for each in asked] == [SYNC]


def test_without_a_daemon_nothing_was_asked(paths: Paths) -> None:
    assert ask(paths) is None
    unix_socket.listen(paths.socket("pair")).close()  # left by one that was killed
    assert ask(paths) is None


@pytest.mark.parametrize("name", ["", "..", "a/b", "../pair"])
def test_a_name_that_is_none_is_no_path(paths: Paths, name: str) -> None:
    with unix_socket.listen(paths.socket("pair")):
        assert errand.run(str(paths.run_dir / "x"), name, SYNC) is None


def test_what_lasts_goes_on_with_the_client_over_the_same_connection(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand, "_MOMENTS_SECONDS", 0.05)
    go_on = threading.Event()
    with daemon(paths, [PROGRESS, go_on, PROGRESS, DoneReply()]) as asked:
        begun = ask(paths)
        assert isinstance(begun, Errand)
        go_on.set()
        with ControlClient(paths, "pair", begun) as client:
            assert len(list(client.stream(protocol.SyncRequest()))) == 2
    assert len(asked) == 1


def test_a_failure_is_the_clients_to_tell_and_nobody_waits_for_more(paths: Paths) -> None:
    with daemon(paths, [ErrorReply("the disk is full", 3)]) as asked:
        begun = ask(paths)
        assert isinstance(begun, Errand)
        with (
            ControlClient(paths, "pair", begun) as client,
            pytest.raises(RemoteError, match=r"^the disk is full$") as caught,
        ):
            client.request(protocol.SyncRequest())
    assert caught.value.exit_code == 3
    assert len(asked) == 1


@pytest.mark.parametrize("reply", [RecoveredReply(survey=Survey(files=3)), protocol.WaitingReply()])
def test_what_it_does_not_know_is_the_clients(paths: Paths, reply: Reply) -> None:
    with daemon(paths, [reply]):
        begun = ask(paths)
        assert isinstance(begun, Errand)
        assert begun.heard == protocol.encode(reply)
        begun.socket.close()


def command(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("TWINFS_STATE_DIR", str(paths.state_dir))
    monkeypatch.setenv("TWINFS_RUN_DIR", str(paths.run_dir))
    monkeypatch.setenv("TWINFS_CONFIG_DIR", str(paths.config_dir))
    return lambda *tokens: run(tokens)


def test_the_command_tells_what_came_of_it(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    twinfs = command(paths, monkeypatch)
    with daemon(paths, [RecoveredReply("/mnt/b is back")]) as asked:
        assert twinfs("attach", "pair") == 0
    assert capsys.readouterr().out == "volume pair: /mnt/b is back\n"
    assert json.loads(asked[0])["order"] == {"action": "attach", "leg": "secondary"}
    with daemon(paths, [ErrorReply("no leg is detached", 2)]):
        assert twinfs("attach", "pair") == 2
    assert capsys.readouterr().err == "twinfs: no leg is detached\n"
    with daemon(paths, []) as asked:
        monkeypatch.setattr(errand, "_MOMENTS_SECONDS", 0.05)
        monkeypatch.setattr("twinfs.daemon.client._PATIENCE_SECONDS", 0.05)
        monkeypatch.setattr(ControlClient, "_progress", lambda self, on_silence: iter(()))
        assert twinfs("sync", "pair", "--allow-deletes") == 0
    assert json.loads(asked[0]) == {"type": "sync", "allow_deletes": True}


def test_little_is_imported_for_it(paths: Paths) -> None:
    script = (
        "import sys\nfrom twinfs.cli.main import run\n"
        "code = run(['sync', 'pair'])\n"
        "print(code, *sorted({'msgspec', 'dataclasses', 'twinfs.model', 'trio'} & set(sys.modules)))"
    )
    environ = {"TWINFS_RUN_DIR": str(paths.run_dir), "PATH": "/usr/bin:/bin"}
    with daemon(paths, [DoneReply()]):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environ
        )
    assert done.stdout.splitlines() == ["volume pair: the secondary is up to date", "0"]
