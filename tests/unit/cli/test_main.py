"""From a command line to an exit code."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest
from cyclopts import App

from twinfs import __version__
from twinfs.cli import image, main
from twinfs.errors import TwinfsError


@pytest.mark.parametrize("name", main.SUMMARIES)
def test_the_overview_says_of_a_command_what_its_docstring_says(name):
    command = getattr(importlib.import_module(f"twinfs.cli.{name}"), name)
    text = command.help if isinstance(command, App) else inspect.getdoc(command)
    assert main.SUMMARIES[name] == text.splitlines()[0]


@pytest.mark.parametrize("name", image.SUMMARIES)
def test_the_image_overview_says_of_a_command_what_its_docstring_says(name):
    command = getattr(importlib.import_module(f"twinfs.cli.image_{name}"), name)
    assert image.SUMMARIES[name] == inspect.getdoc(command).splitlines()[0]


def test_the_overview_lists_every_command(cli):
    text = cli("--help").out
    assert all(summary in text for summary in main.SUMMARIES.values())


@pytest.mark.parametrize("name", main.SUMMARIES)
def test_the_help_of_a_command_has_an_example_and_fits_a_terminal(cli, name):
    text = cli(name, "--help").out
    assert "For example:" in text
    assert f"    twinfs {name}" in text
    described = text[: text.index("╭")]
    assert max(map(len, described.splitlines())) < 80


def test_the_version_is_told(cli):
    assert cli("--version").out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["stat"], 'Did you mean "status"'),
        (["status", "--jsn"], "Did you mean --json"),
        (["status", "a", "b"], "Unused Tokens"),
        (["mount"], "requires an argument"),
        (["mode", "pair", "fast"], '"sync", "batched"'),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_a_hint(cli, tokens, words):
    answer = cli(*tokens)
    assert answer.code == 2
    assert answer.err.startswith("twinfs: ")
    assert words in answer.err
    assert answer.out == ""


def test_global_options_may_stand_before_or_after_the_command(tmp_path, capsys):
    for tokens in (
        ["--config-dir", str(tmp_path / "c"), "status"],
        ["status", "--config-dir", str(tmp_path / "c")],
    ):
        assert main.run(tokens) == 0
        assert f"no volume is configured in {tmp_path / 'c'}" in capsys.readouterr().err


def test_a_failure_is_a_message_and_its_own_exit_code(cli, monkeypatch):
    class OddError(TwinfsError):
        exit_code = 7

    def fail(paths, name):
        raise OddError("it is odd")

    monkeypatch.setattr("twinfs.daemon.config.load", fail)
    answer = cli("sync", "pair")
    assert (answer.code, answer.err, answer.out) == (7, "twinfs: it is odd\n", "")


def test_an_interrupt_ends_with_130(cli, monkeypatch):
    def interrupt(paths, name):
        raise KeyboardInterrupt

    monkeypatch.setattr("twinfs.daemon.config.load", interrupt)
    assert cli("sync", "pair").code == 130


def test_a_reader_that_has_had_enough_is_no_failure_with_a_traceback(tmp_path):
    script = (
        "import sys; from twinfs.cli import main\n"
        "import twinfs.cli.events as events\n"
        "from twinfs.daemon.events import EventLog\n"
        "from twinfs.model import Event\n"
        "events.config.load = lambda paths, name: None\n"
        "EventLog.read = lambda self: (Event(0.0, 'pair', 'x', 'y' * 1000) for _ in range(10000))\n"
        "sys.exit(main.run(['events', 'pair']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert errors == ""


@pytest.mark.parametrize("heavy", ["trio", "pyfuse3", "rich.progress", "cyclopts"])
def test_commands_start_without_what_they_do_not_need(heavy):
    script = f"import sys; from twinfs.cli import main, mount_helper; sys.exit({heavy!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_status_starts_without_trio_and_libfuse(tmp_path):
    script = (
        "import sys; from twinfs.cli import main\n"
        f"code = main.run(['status', '--config-dir', {str(tmp_path)!r}])\n"
        "sys.exit(code or bool({'trio', 'pyfuse3', 'rich.progress'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_know_every_command(tmp_path, shell, capsys):
    script = tmp_path / "completion"
    assert main.run(["--install-completion", "--shell", shell, "--output", str(script)]) == 0
    text = script.read_text()
    assert all(name in text for name in main.SUMMARIES)
