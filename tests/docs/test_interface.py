"""docs/interface.md is a promise: it names what there is, and only that."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.markdown import INTERFACE, ROOT, first_column, rows, section
from twinfs import errors, imageinfo, model
from twinfs.cli import checks, image
from twinfs.cli.main import SUMMARIES
from twinfs.daemon import config, options

COMMANDS = sorted(SUMMARIES)
COMMON_OPTIONS = {"--config-dir", "--state-dir"}
EVERYWHERE = {"--help", "--version"}


def documented_commands() -> list[str]:
    return sorted(words[0].split()[1] for words in first_column(section(INTERFACE, "Commands")))


def help_of(*command: str) -> str:
    """As people see it, wide enough that no option is broken over two lines."""
    done = subprocess.run(
        [Path(sys.executable).parent / "twinfs", *command, "--help"],
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def test_every_command_is_documented_and_every_documented_command_exists():
    assert documented_commands() == COMMANDS


def of(shape: type) -> list[str]:
    return [field.name for field in dataclasses.fields(shape)]


IMAGE_COMMANDS = sorted(image.SUMMARIES)


@pytest.mark.parametrize("command", IMAGE_COMMANDS)
def test_every_image_command_has_a_section_with_its_options_and_an_example(command):
    described = section(INTERFACE, f"image {command}")
    assert f"`twinfs image {command} " in described
    told = help_of("image", command)
    assert options_in(told) - COMMON_OPTIONS - EVERYWHERE == options_in(described)
    assert f"twinfs image {command}" in told.partition("\n")[2]


def test_fields_of_image_info_are_documented():
    text = section(INTERFACE, "JSON")
    inner = re.search(r"`twinfs image info --json` prints one object: `\{(.*?)\}`", text)
    assert inner is not None
    fields = [field.name for field in dataclasses.fields(imageinfo.ImageInfo)]
    assert re.findall(r'"(\w+)"', inner[1]) == ["type", *fields]
    documented = {word for words in first_column(text, 1) for word in words}
    assert documented == {field.name for field in dataclasses.fields(imageinfo.ImagePartition)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_section_with_its_synopsis(command):
    assert f"`twinfs {command}" in section(INTERFACE, command)


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_a_command_are_those_of_its_section(command):
    assert options_in(help_of(command)) - COMMON_OPTIONS - EVERYWHERE == options_in(
        section(INTERFACE, command)
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(command):
    assert f"twinfs {command}" in help_of(command).partition("\n")[2], "no example beside the usage line"


def test_every_exit_code_is_documented():
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]
    codes = {str(cls.exit_code) for cls in classes if issubclass(cls, errors.TwinfsError)}
    documented = {cells[0] for cells in rows(section(INTERFACE, "Exit codes"))}
    assert codes <= documented


@pytest.mark.parametrize(("table", "states"), [(0, model.VolumeState), (1, model.LegState)])
def test_states_of_volumes_and_legs_are_documented(table, states):
    documented = [word for [word] in first_column(section(INTERFACE, "status"), table)]
    assert documented == [state.value for state in states]


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("scrub", of(model.Mismatch)),
        ("replace --dry-run", ["volume", *of(model.Survey)]),
        ("versions", of(model.Version)),
        ("restore", of(model.Restored)),
        ("quarantine", of(model.Quarantined)),
        ("events", of(model.Event)),
        ("events --test", of(model.ChannelTest)),
        ("doctor", of(checks.Check)),
    ],
)
def test_fields_of_each_json_line_are_documented(command, fields):
    found = re.search(
        rf"`twinfs {command} --json`[^`]*? prints[^`{{]*`{{(.*?)}}`", section(INTERFACE, "JSON"), re.DOTALL
    )
    assert found is not None
    documented = re.findall(r'"(\w+)"', found[1])
    assert documented[0] == "type"
    assert sorted(documented[1:]) == sorted(fields)


def test_fields_of_status_are_documented():
    documented = [word for [word] in first_column(section(INTERFACE, "JSON"))]
    assert documented == ["type", *(field.name for field in dataclasses.fields(model.VolumeStatus))]


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ("legs", model.LegStatus),
        ("pending", model.Pending),
        ("last_scrub", model.ScrubSummary),
        ("versions", model.Held),
        ("quarantine", model.PutAside),
    ],
    ids=str,
)
def test_fields_inside_status_are_documented(row, shape):
    text = next(cells[1] for cells in rows(section(INTERFACE, "JSON")) if cells[0] == f"`{row}`")
    inner = re.search(r"\{(.*?)\}", text)
    assert inner is not None
    assert re.findall(r'"(\w+)"', inner[1]) == [field.name for field in dataclasses.fields(shape)]


def test_every_setting_is_documented():
    documented = {word for words in first_column(section(INTERFACE, "A volume's settings")) for word in words}
    assert documented == set(config._File.__struct_fields__)


def test_every_mount_option_of_our_own_is_documented():
    documented = {
        word.partition("=")[0] for words in first_column(section(INTERFACE, "mount")) for word in words
    }
    assert documented == {*options._OURS, *options._TO_KERNEL, *options._BY_USERS}


def test_commands_in_the_readme_exist():
    named = set(
        re.findall(r"(?:`|^    (?:sudo )?)twinfs ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    )
    assert named <= set(COMMANDS)
