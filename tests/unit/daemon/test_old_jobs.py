"""An rsync of before that still writes into a leg is found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinfs.daemon.old_jobs import jobs_into

LEG = "/mnt/hd1_mirror"


def found(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "table").write_text(text)
    return [job.line for job in jobs_into(LEG, [f"{tmp_path}/tab*"])]


@pytest.mark.parametrize(
    "line",
    [
        "30 3 * * * root rsync -a --delete --delete-after /mnt/hd1/ /mnt/hd1_mirror/",
        "rsync -a /mnt/hd1/ /mnt/hd1_mirror",
        "@daily /usr/bin/rsync -a '/mnt/hd1/' \"/mnt/hd1_mirror\" >/var/log/mirror 2>&1",
        "nice rsync -a --exclude=/tmp /mnt/hd1/photos/ /mnt/hd1_mirror/photos/; logger done",
        "ExecStart=/usr/bin/rsync -a /mnt/hd1/ /mnt/hd1_mirror/",
        "mountpoint -q /mnt/hd1 && rsync -a nas:/files/ /mnt/hd1/../hd1_mirror && echo /home",
    ],
)
def test_a_line_that_writes_there_is_found(tmp_path: Path, line: str) -> None:
    assert found(tmp_path, f"# a comment\n{line}\n") == [line]


@pytest.mark.parametrize(
    "line",
    [
        "# 30 3 * * * root rsync -a --delete /mnt/hd1/ /mnt/hd1_mirror/",
        "rsync -a /mnt/hd1_mirror/ /mnt/usb/",
        "rsync -a /mnt/hd1/ /mnt/hd1_mirror2/",
        "rsync -a /mnt/hd1/ /mnt/",
        "rsync -a /mnt/hd1_mirror/ nas:/mnt/hd1_mirror/",
        "rsync /mnt/hd1_mirror",
        "du -s /mnt/hd1_mirror",
        "echo rsync",
    ],
)
def test_what_does_not_is_left_alone(tmp_path: Path, line: str) -> None:
    assert found(tmp_path, f"{line}\n") == []


def test_a_line_may_go_on_in_the_next(tmp_path: Path) -> None:
    assert found(tmp_path, "rsync -a \\\n  /mnt/hd1/ \\\n  /mnt/hd1_mirror/\n") != []


def test_what_cannot_be_read_is_no_job(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "tabular").write_bytes(b"\xff\xfe rsync a /mnt/hd1_mirror\0")
    assert list(jobs_into(LEG, [f"{tmp_path}/tab*", f"{tmp_path}/none/*"])) == []
