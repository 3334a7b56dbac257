"""Somebody else's program, run for a bounded time."""

from __future__ import annotations

import os
import threading
import time

import pytest

from support.volume import is_running, wait_until
from twinfs.daemon.command import Command, CommandError


def run(script, given=b"", timeout=10.0, **environment):
    Command(["sh", "-c", script]).run(given, environment, timeout)


def test_it_gets_its_input_and_the_environment(tmp_path):
    run(f"cat > {tmp_path}/in; echo $WHAT >> {tmp_path}/in", b"given\n", WHAT="told")
    assert (tmp_path / "in").read_text() == "given\ntold\n"


def test_input_that_is_not_read_holds_nobody_up():
    run("exit 0", b"x" * 1_000_000)


def test_it_runs_in_the_root_with_an_ordinary_umask_in_a_session_of_its_own(tmp_path):
    before = os.umask(0)
    try:
        run(
            f"umask > {tmp_path}/out; pwd >> {tmp_path}/out; echo $$ >> {tmp_path}/out;"
            f" cut -d' ' -f6 /proc/$$/stat >> {tmp_path}/out"
        )
    finally:
        os.umask(before)
    umask, directory, pid, session = (tmp_path / "out").read_text().split()
    assert (int(umask, 8), directory) == (0o022, "/")
    assert pid == session


def test_the_service_managers_words_to_us_are_not_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("LISTEN_FDS", "1")
    run(f"env > {tmp_path}/env")
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert "PATH" in names
    assert not names & {"NOTIFY_SOCKET", "LISTEN_FDS"}


def test_it_inherits_no_descriptor(tmp_path):
    leaked = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        run(f"ls -l /proc/self/fd > {tmp_path}/fds")
    finally:
        os.close(leaked)
    assert "/dev/zero" not in (tmp_path / "fds").read_text()


def test_a_failure_is_told_with_the_programs_own_words():
    with pytest.raises(CommandError, match=r"(?s)^sh: ended with exit code 3\n  no such thing\n  really$"):
        run("echo no such thing; echo really >&2; exit 3")


def test_a_death_by_signal_is_told():
    with pytest.raises(CommandError, match="ended by signal 9"):
        run("kill -9 $$")


def test_what_cannot_be_started_is_told(tmp_path):
    (tmp_path / "not executable").touch()
    for words, reason in (
        (["/no/such/hook"], "/no/such/hook: cannot be started: No such file"),
        ([str(tmp_path / "not executable")], "cannot be started: Permission denied"),
        (["true", "x" * 3_000_000], "cannot be started: Argument list too long"),
    ):
        with pytest.raises(CommandError, match=reason):
            Command(words).run(b"", {}, 10.0)


def test_a_flood_of_output_neither_blocks_it_nor_fills_the_message():
    with pytest.raises(CommandError) as caught:
        run("head -c 5000000 /dev/zero | tr '\\\\0' x; exit 1")
    assert 4000 < len(str(caught.value)) < 5000


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    begin = time.monotonic()
    with pytest.raises(CommandError, match=r"(?s)ended by force after 0.3 s\n  waiting"):
        run(f"sleep 1000 & echo $! > {tmp_path}/child; echo waiting; wait", timeout=0.3)
    assert time.monotonic() - begin < 2
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not is_running(child), 5, "the hook's child lives on")


def test_one_that_ignores_sigterm_is_ended_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("twinfs.daemon.command._TERM_GRACE_SECONDS", 0.2)
    with pytest.raises(CommandError, match="by force"):
        run(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done", timeout=0.3)
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_what_it_leaves_in_the_background_is_not_waited_for(tmp_path):
    begin = time.monotonic()
    run(f"sleep 1000 & echo $! > {tmp_path}/child")
    assert time.monotonic() - begin < 5
    child = int((tmp_path / "child").read_text())
    assert is_running(child)
    os.kill(child, 9)


def test_it_can_be_ended_from_another_thread(tmp_path):
    command = Command(["sleep", "1000"])
    timer = threading.Timer(0.2, command.kill)
    timer.start()
    with pytest.raises(CommandError, match="signal 9"):
        command.run(b"", {}, 30.0)
    timer.join()
    with pytest.raises(CommandError, match="not started"):
        command.run(b"", {}, 30.0)


def test_no_descriptor_is_left_behind():
    before = len(os.listdir("/proc/self/fd"))
    run("exit 0")
    with pytest.raises(CommandError):
        run("exit 1")
    with pytest.raises(CommandError):
        Command(["/no/such/hook"]).run(b"", {}, 1.0)
    assert len(os.listdir("/proc/self/fd")) == before
