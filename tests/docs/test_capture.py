"""docs/interface.md says of twinfs-capture what there is, and only that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from docs.markdown import INTERFACE, ROOT, first_column, section
from twinfs_capture.disk.hashes import CHECKERS
from twinfs_capture.main import SUMMARIES, TARGETS

COMMANDS = sorted(SUMMARIES)
EVERYWHERE = {"--help", "--version"}


def help_of(command: str) -> str:
    """As people see it, wide enough that no option is broken over two lines."""
    done = subprocess.run(
        [Path(sys.executable).parent / "twinfs-capture", command, "--help"],
        env={**os.environ, "COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def test_every_command_is_documented_and_every_documented_command_exists():
    documented = [words[0].split()[1] for words in first_column(section(INTERFACE, "twinfs-capture"))]
    assert sorted(documented) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_a_command_are_those_of_its_section(command):
    documented = options_in(section(INTERFACE, f"twinfs-capture {command}"))
    assert options_in(help_of(command)) - EVERYWHERE == documented


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_begins_with_its_summary_and_has_an_example(command):
    text = help_of(command)
    assert text.splitlines()[2] == SUMMARIES[command]
    assert f"    twinfs-capture {command}" in text.partition("\n")[2]
    module, _, name = TARGETS[command].partition(":")
    assert getattr(import_module(module), name).__doc__.splitlines()[0] == SUMMARIES[command]


def test_every_hash_is_documented():
    row = next(
        words for words in first_column(section(INTERFACE, "twinfs-capture disk")) if "--hash" in words[0]
    )
    assert row
    assert set(CHECKERS) <= set(re.findall(r"`(\w+)`", section(INTERFACE, "twinfs-capture disk")))


def test_commands_in_readme_and_guide_exist():
    for page in (ROOT / "README.md", ROOT / "docs" / "capture.md"):
        named = set(
            re.findall(r"(?:`|^    (?:sudo )?)twinfs-capture ([a-z]+)", page.read_text(), re.MULTILINE)
        )
        assert named
        assert named <= set(COMMANDS)
