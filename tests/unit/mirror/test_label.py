"""Which disk is which: every refusal, its class and its words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.machine import needs_root, run
from twinfs.errors import (
    DamagedLabelError,
    LegError,
    LegInUseError,
    LegNotMountedError,
    TwinfsError,
    UsageError,
    WrongDiskError,
)
from twinfs.mirror.label import LabelChange, Leg, initialise, read
from twinfs.mirror.places import check_free
from twinfs.model import Role


@pytest.fixture
def legs(tmp_path: Path) -> tuple[Path, Path, str]:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    volume_id = initialise(str(tmp_path / "a"), str(tmp_path / "b"), "pair", adopt=False)
    return tmp_path / "a", tmp_path / "b", volume_id


def label_file(leg: Path) -> Path:
    return leg / ".twinfs" / "label.json"


def edit(leg: Path, **changes: Any) -> None:
    label = json.loads(label_file(leg).read_text())
    label_file(leg).write_text(json.dumps(label | changes))


def refusal(role: Role, leg: Path, volume_id: str) -> tuple[type[TwinfsError], str]:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TwinfsError) as caught:
        Leg.open(role, str(leg), volume_id)
    assert len(os.listdir("/proc/self/fd")) == before, "a refused leg must not stay open"
    return caught.type, str(caught.value)


def test_a_labelled_leg_opens_and_says_who_it_is(legs: tuple[Path, Path, str]) -> None:
    leg = Leg.open(Role.SECONDARY, str(legs[1]), legs[2])
    assert (leg.label.volume, leg.label.leg, leg.label.events) == ("pair", Role.SECONDARY, 1)
    assert not leg.was_in_use_at_other_boot
    leg.close()


def test_a_directory_without_a_label_is_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    kind, message = refusal(Role.SECONDARY, tmp_path, "x")
    assert kind is LegNotMountedError
    assert message.startswith(f"secondary leg: {tmp_path} has no twinfs label")
    assert "Mount the disk" in message


@pytest.mark.parametrize("name", ["absent", "file"])
def test_a_path_that_is_no_directory_is_a_disk_that_is_not_mounted(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    kind, message = refusal(Role.PRIMARY, tmp_path / name, "x")
    assert kind is LegNotMountedError
    assert str(tmp_path / name) in message


def test_a_leg_of_another_volume_is_the_wrong_disk(legs: tuple[Path, Path, str]) -> None:
    edit(legs[1], volume="photos")
    kind, message = refusal(Role.SECONDARY, legs[1], "another-id")
    assert kind is WrongDiskError
    assert "belongs to another volume, 'photos'" in message
    assert "Mount the right disk" in message


def test_swapped_legs_are_the_wrong_disks(legs: tuple[Path, Path, str]) -> None:
    kind, message = refusal(Role.PRIMARY, legs[1], legs[2])
    assert kind is WrongDiskError
    assert "is the volume's secondary; the legs are swapped" in message


def test_a_copy_on_another_file_system_is_the_wrong_disk(legs: tuple[Path, Path, str]) -> None:
    recorded = json.loads(label_file(legs[0]).read_text())["filesystem"]
    edit(legs[0], filesystem=recorded.split(":")[0] + ":other")
    kind, message = refusal(Role.PRIMARY, legs[0], legs[2])
    assert kind is WrongDiskError
    assert "another file system than last time" in message


@pytest.mark.parametrize("text", ["", "{", "[]", '{"volume": 1}', "\0" * 100])
def test_a_label_that_says_nothing_is_damaged(legs: tuple[Path, Path, str], text: str) -> None:
    label_file(legs[0]).write_text(text)
    kind, message = refusal(Role.PRIMARY, legs[0], legs[2])
    assert kind is DamagedLabelError
    assert "is damaged" in message and str(legs[0]) in message


def test_a_label_that_is_a_symbolic_link_is_not_followed(legs: tuple[Path, Path, str]) -> None:
    label_file(legs[0]).rename(legs[0] / "elsewhere.json")
    label_file(legs[0]).symlink_to("../elsewhere.json")
    with pytest.raises((LegError, OSError)):
        Leg.open(Role.PRIMARY, str(legs[0]), legs[2])


def test_in_use_is_written_and_taken_back(legs: tuple[Path, Path, str]) -> None:
    leg = Leg.open(Role.PRIMARY, str(legs[0]), legs[2])
    leg.write_label(is_in_use=True)
    assert json.loads(label_file(legs[0]).read_text())["boot_id"] != ""
    assert not leg.was_in_use_at_other_boot
    leg.write_label(is_in_use=False, change=LabelChange(events=5))
    leg.close()
    label = read(Role.PRIMARY, str(legs[0]))
    assert label is not None
    assert (label.boot_id, label.events) == ("", 5)


def test_a_leg_in_use_when_another_kernel_ran_has_lost_its_power(legs: tuple[Path, Path, str]) -> None:
    edit(legs[0], boot_id="an earlier boot")
    leg = Leg.open(Role.PRIMARY, str(legs[0]), legs[2])
    assert leg.was_in_use_at_other_boot
    leg.close()


def test_an_unlabelled_directory_has_no_label_to_read(tmp_path: Path) -> None:
    assert read(Role.PRIMARY, str(tmp_path)) is None


# Initialising


def start(primary: Path, secondary: Path, *, adopt: bool = False) -> str:
    return initialise(str(primary), str(secondary), "pair", adopt=adopt)


def test_the_same_directory_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for second in (tmp_path, tmp_path / ".", tmp_path / "link"):
        with pytest.raises(UsageError, match="two directories"):
            start(tmp_path, second)


def test_one_leg_inside_the_other_is_refused_either_way(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "beside").symlink_to("in/deep")
    for first, second in [("in", "in/deep"), ("in/deep", "in"), ("in", "beside")]:
        with pytest.raises(UsageError, match="neither inside the other"):
            start(tmp_path / first, tmp_path / second)
    assert list(tmp_path.rglob(".twinfs")) == []


def test_names_that_only_begin_alike_are_not_inside_each_other(tmp_path: Path) -> None:
    (tmp_path / "hd1").mkdir()
    (tmp_path / "hd1_mirror").mkdir()
    assert start(tmp_path / "hd1", tmp_path / "hd1_mirror")


def test_a_leg_of_a_volume_is_not_taken_for_another(legs: tuple[Path, Path, str], tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for first, second, words in [
        (legs[0], tmp_path / "new", "primary leg of volume 'pair'"),
        (tmp_path / "new", legs[1], "secondary leg of volume 'pair'"),
    ]:
        with pytest.raises(LegInUseError, match=words):
            start(first, second, adopt=True)
    assert not (tmp_path / "new" / ".twinfs").exists()


def test_a_secondary_with_files_is_refused_unless_adopted_and_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").write_text("precious")
    with pytest.raises(LegInUseError, match=r"is not empty[\s\S]*--adopt"):
        start(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "a" / ".twinfs").exists()
    start(tmp_path / "a", tmp_path / "b", adopt=True)
    assert (tmp_path / "b" / "mine").read_text() == "precious"


def test_lost_and_found_and_a_full_primary_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "lost+found").mkdir(parents=True)
    (tmp_path / "a" / "f").write_text("x")
    start(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "f").read_text() == "x"


def test_a_missing_directory_is_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(LegNotMountedError, match="secondary leg"):
        start(tmp_path / "a", tmp_path / "b")


def test_a_directory_inside_a_leg_is_no_leg(legs: tuple[Path, Path, str], tmp_path: Path) -> None:
    inside, beside, link = legs[0] / "deep/inside", tmp_path / "beside", tmp_path / "link"
    inside.mkdir(parents=True)
    beside.mkdir()
    link.symlink_to(inside)
    for primary, secondary in ((inside, beside), (beside, inside), (link, beside)):
        with pytest.raises(LegInUseError, match=f"is inside {legs[0]}, the primary leg of volume 'pair'"):
            initialise(str(primary), str(secondary), "other", adopt=False)
    with pytest.raises(LegInUseError, match="is inside"):
        check_free(str(inside), legs[2])
    assert (os.listdir(inside), os.listdir(beside)) == ([], [])
    (legs[0] / ".twinfs").rename(tmp_path / "aside")
    check_free(str(inside), legs[2])


@needs_root
def test_another_file_system_that_is_mounted_in_a_leg_may_have_one(
    legs: tuple[Path, Path, str], tmp_path: Path
) -> None:
    inside = legs[0] / "disk"
    inside.mkdir()
    run("mount", "-t", "tmpfs", "none", inside)
    try:
        (inside / "leg").mkdir()
        check_free(str(inside / "leg"), legs[2])
    finally:
        run("umount", inside)
