"""Becoming a daemon: real forks, in a process of its own so that pytest's threads stay out of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.volume import is_running, wait_until

SCRIPT = """
import json, os, sys, time
from twinfs.daemon.start import StartError, in_background
from twinfs.errors import MountError, WrongDiskError

def facts(on_ready):
    with open(sys.argv[2], "w") as file:
        json.dump({
            "pid": os.getpid(), "session": os.getsid(0), "cwd": os.getcwd(),
            "stdio": [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1)],
            "open": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
        }, file)
    on_ready()
    os.write(2, b"nobody reads this")
    with open(sys.argv[2] + ".stderr", "w") as file:
        file.write(os.readlink("/proc/self/fd/2"))
    time.sleep(60)

def refuse(on_ready):
    os.write(2, b"fusermount3: no\\n")
    raise WrongDiskError("secondary leg: /mnt/caf\\udce9 is another disk")

def usage(on_ready):
    error = MountError("cannot")
    error.exit_code = 7
    raise error

def bug(on_ready):
    raise ZeroDivisionError("oh")

def die(on_ready):
    os.kill(os.getpid(), 9)

def slow(on_ready):
    with open(sys.argv[2], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)

def late(on_ready):
    on_ready()
    raise WrongDiskError("afterwards")

try:
    print(in_background(globals()[sys.argv[1]], "pair"), flush=True)
except StartError as error:
    print(json.dumps([str(error), error.exit_code]))
except KeyboardInterrupt:
    print("interrupted")
"""


def run(body, path, **options):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, body, path],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        **options,
    )


@pytest.fixture
def daemon(tmp_path):
    inherited = os.open("/dev/zero", os.O_RDONLY)
    done = run("facts", tmp_path / "facts", pass_fds=[inherited])
    os.close(inherited)
    pid = int(done.stdout)
    yield pid
    os.kill(pid, signal.SIGKILL)


def test_a_daemon_has_left_terminal_directory_and_session(daemon, tmp_path):
    facts = json.loads((tmp_path / "facts").read_text())
    assert facts["pid"] == daemon
    assert facts["session"] not in (daemon, os.getsid(0))
    assert facts["cwd"] == "/"
    assert facts["stdio"] == ["/dev/null", "/dev/null"]


def test_a_daemon_keeps_nothing_of_what_its_starter_had_open(daemon, tmp_path):
    facts = json.loads((tmp_path / "facts").read_text())
    links = [Path(f"/proc/{daemon}/fd/{fd}") for fd in facts["open"]]
    assert not any(os.readlink(link) == "/dev/zero" for link in links if link.is_symlink())


def test_a_ready_daemon_says_no_more(daemon, tmp_path):
    wait_until((tmp_path / "facts.stderr").exists, 5, "stderr was not looked at")
    wait_until((tmp_path / "facts.stderr").read_text, 5, "stderr was not looked at")
    assert (tmp_path / "facts.stderr").read_text() == "/dev/null"


def test_a_refusal_reaches_the_command_with_what_libraries_said(tmp_path):
    message, exit_code = json.loads(run("refuse", tmp_path / "x").stdout)
    assert message == "secondary leg: /mnt/caf\\xe9 is another disk\n  fusermount3: no"
    assert exit_code == 1


def test_the_daemon_chooses_the_exit_code(tmp_path):
    assert json.loads(run("usage", tmp_path / "x").stdout) == ["cannot", 7]


def test_a_bug_is_told_as_one(tmp_path):
    message, exit_code = json.loads(run("bug", tmp_path / "x").stdout)
    assert message == "internal error: ZeroDivisionError: oh"
    assert exit_code == 1


def test_a_death_without_words_is_told(tmp_path):
    message, _ = json.loads(run("die", tmp_path / "x").stdout)
    assert "died before it answered" in message


def test_a_failure_after_the_start_is_no_longer_the_commands(tmp_path):
    assert int(run("late", tmp_path / "x").stdout) > 0


def test_interrupting_the_start_ends_the_daemon(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "slow", tmp_path / "pid"], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 10, "no daemon")
    pid = int((tmp_path / "pid").read_text())
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[0] == "interrupted\n"
    wait_until(lambda: not is_running(pid), 5, "the daemon did not end")
