"""What is taken apart without the parser is what the parser makes of it; the rest is left to the parser."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from twinfs.cli import attach, detach, draining, main, ordering, plain, resync, state, status, sync
from twinfs.cli.plain import SHAPES, run_plainly
from twinfs.daemon.paths import Paths
from twinfs.model import Mode, Pending, VolumeState, VolumeStatus


def plain_lines() -> Iterator[list[str]]:
    """Every number of words with every choice of switches, before and after the words."""
    for command, shape in SHAPES.items():
        for count in range(shape.least, shape.most + 1):
            words = ["photos", "primary"][:count]
            for size in range(len(shape.switches) + 1):
                for switches in itertools.combinations(sorted(shape.switches), size):
                    yield [command, *words, *switches]
                    yield [command, *switches, *words]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would be done."""
    found: list[tuple[Any, ...]] = []
    places = {
        "show_status": (state, status),
        "drain": (draining, sync),
        "carry_out": (ordering, attach, detach, resync),
    }
    for name, modules in places.items():

        def note(*args: Any, _name: str = name, **kwargs: Any) -> int:
            assert kwargs.pop("errand", None) is None  # no daemon answers here
            found.append((_name, args, sorted(kwargs.items())))
            return 5

        for module in modules:
            monkeypatch.setattr(module, name, note)
    return found


@pytest.mark.parametrize("line", list(plain_lines()), ids=" ".join)
def test_it_does_what_the_parser_would_do(line: list[str], calls: list[tuple[Any, ...]]) -> None:
    assert run_plainly(line) == 5
    assert main._run_parsed(line) == 5
    assert len(calls) == 2
    assert calls[0] == calls[1]


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["--help"],
        ["--version"],
        ["doctor"],
        ["status", "--help"],
        ["status", "-h"],
        ["status", "photos", "archive"],
        ["status", "--json", "--json"],
        ["status", "--json=true"],
        ["status", "--jso"],
        ["status", "--", "photos"],
        ["status", "--config-dir", "/tmp"],
        ["--config-dir", "/tmp", "status"],
        ["sync"],
        ["sync", "photos", "--allow"],
        ["resync", "photos", "--prefer", "primary"],
        ["attach", "photos", "secondary", "more"],
    ],
    ids=" ".join,
)
def test_what_is_not_plain_is_the_parsers(line: Sequence[str]) -> None:
    assert run_plainly(line) is None


def test_the_parser_is_not_even_loaded() -> None:
    script = (
        "import sys\nfrom twinfs.cli.main import run\n"
        "code = run(['status', 'no-such-volume'])\n"
        "print(code, 'cyclopts' in sys.modules, 'trio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False", "False"]
    assert "no volume no-such-volume is configured" in done.stderr


def test_every_one_is_a_command() -> None:
    assert plain.SHAPES.keys() <= main.SUMMARIES.keys()


def test_a_daemon_that_answers_is_asked_before_the_settings_are_read(cli, monkeypatch) -> None:
    """They may be half edited."""
    cli.init()
    cli.paths.config_file("pair").write_text("primary = \n")
    assert cli("status", "pair").code == 2

    class Answering:
        def __init__(self, paths: Paths, name: str) -> None:
            assert name == "pair"

        def __enter__(self) -> Answering:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def status(self) -> VolumeStatus:
            return VolumeStatus(
                "pair", 7, VolumeState.CLEAN, Mode.SYNC, "/mnt", (), Pending(0, 0, 0.0), None, None
            )

    monkeypatch.setattr(state, "ControlClient", Answering)
    assert cli("status", "pair").code == 0
