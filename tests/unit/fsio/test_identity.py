"""Telling file systems apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twinfs.fsio.identity import boot_id, filesystem_id, is_other_filesystem


def identity(path: str | Path) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return filesystem_id(fd)
    finally:
        os.close(fd)


def test_two_directories_of_one_file_system_have_one_identity(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    assert identity(tmp_path) == identity(tmp_path / "below")


def test_two_file_systems_have_two_identities(tmp_path: Path) -> None:
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    assert identity(tmp_path) != identity("/dev/shm")


@pytest.mark.parametrize(
    ("recorded", "present", "is_other"),
    [
        ("uuid:1", "uuid:1", False),
        ("uuid:1", "uuid:2", True),
        ("fsid:1", "fsid:2", True),
        ("uuid:1", "fsid:2", False),
        ("", "uuid:2", False),
        ("uuid:1", "", False),
    ],
)
def test_only_two_known_identities_of_one_kind_can_differ(
    recorded: str, present: str, is_other: bool
) -> None:
    assert is_other_filesystem(recorded, present) is is_other


def test_the_boot_id_is_the_same_within_one_boot() -> None:
    assert boot_id() == boot_id() != ""
