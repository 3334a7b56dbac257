"""docs/interface.md says of twinfs-qemu what there is, and only that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from docs.markdown import INTERFACE, ROOT, first_column, section
from twinfs_qemu.main import SUMMARIES, TARGETS
from twinfs_qemu.net import command as net_command
from twinfs_qemu.net import group

COMMANDS = sorted({*SUMMARIES, *(f"net {name}" for name in group.SUMMARIES)} - {"net"})
EVERYWHERE = {"--help", "--version"}


def help_of(command: str) -> str:
    """As people see it, wide enough that no option is broken over two lines."""
    done = subprocess.run(
        [Path(sys.executable).parent / "twinfs-qemu", *command.split(), "--help"],
        env={**os.environ, "COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def function_of(name: str, below: str):
    if below:
        return getattr(net_command, below)
    module, _, function = TARGETS[name].partition(":")
    return getattr(import_module(module), function)


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def test_every_command_is_documented_and_every_documented_command_exists():
    documented = [words[0].split()[1] for words in first_column(section(INTERFACE, "twinfs-qemu"))]
    assert sorted(documented) == sorted(SUMMARIES)


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_a_command_are_those_of_its_section(command):
    documented = options_in(section(INTERFACE, f"twinfs-qemu {command}"))
    assert options_in(help_of(command)) - EVERYWHERE == documented


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_begins_with_its_summary_and_has_an_example(command):
    text = help_of(command)
    group_name, _, below = command.partition(" ")
    summary = group.SUMMARIES[below] if below else SUMMARIES[command]
    # A long one is broken over two lines.
    assert " ".join(text.split("\n\n")[1].split()) == summary
    assert re.search(rf"^    (sudo )?twinfs-qemu {command}\b", text, re.MULTILINE)
    assert function_of(group_name, below).__doc__.splitlines()[0] == summary


def test_commands_in_readme_and_guide_exist():
    for page in (ROOT / "README.md", ROOT / "docs" / "qemu.md"):
        named = set(re.findall(r"(?:`|^    (?:sudo )?)twinfs-qemu ([a-z]+)", page.read_text(), re.MULTILINE))
        assert named
        assert named <= set(SUMMARIES)
