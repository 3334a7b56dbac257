"""Scrubbing a mounted or unmounted volume, and what its store says of that."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from support.faults import make_tree
from support.machine import describe
from support.volume import Volume, wait_until


def scrub(volume: Volume, *options: str, expect: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(the mismatches, the summary)."""
    done = volume.twinfs("scrub", volume.name, "--json", *options, check=False)
    assert done.returncode == expect, describe(done)
    *found, summary = map(json.loads, done.stdout.splitlines())
    assert all(line["type"] == "mismatch" for line in found)
    assert summary["type"] == "summary"
    return found, summary


def asked(volume: Volume, query: str) -> int:
    """One number from the volume's scrub.db; 0 while there is none."""
    path = volume.state / "scrub.db"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return int(db.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # it is just made


def runs(volume: Volume) -> int:
    """How many scrubs were begun since the volume was made; one that goes on is no new one."""
    return asked(volume, "SELECT count(*) FROM run")


def wait_until_reading(volume: Volume, *, bytes_read: int = 0) -> None:
    """Until the scrub that was just started reads contents, and has read so much of them."""
    query = f"SELECT count(*) FROM run WHERE phase = 'reading' AND bytes >= {bytes_read}"
    wait_until(lambda: asked(volume, query), 60, "no scrub reads")


def wait_until_recorded(volume: Volume, name: str) -> None:
    """Until the volume has recorded the content of what is called so from how it was written."""
    query = f"SELECT count(*) FROM object WHERE name = CAST('{name}' AS BLOB) AND known_ns > scrubbed_ns"
    wait_until(lambda: asked(volume, query), 60, f"{name} is not recorded")


def judged(found: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {line["path"]: (line["kind"], line["bad_leg"]) for line in found}


def scrubbed_volume(new_volume: Callable[..., Volume], mode: str, *, is_mounted: bool) -> Volume:
    """With a tree in it that a scrub has found equal."""
    volume = new_volume(mode).init().mount_it()
    make_tree(volume.mount)
    if not is_mounted:
        volume.umount()
    scrub(volume, expect=0)
    return volume
