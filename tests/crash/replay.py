"""What a volume must hold after a kill: the answered operations of a log, done again on a plain directory."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from crash.operations import Actor, Operation, content_path
from support import tree
from support.tree import Entry, Tree

_IGNORED = frozenset({"dir_mtime", "old_only", "blocks"})


def read_log(path: Path) -> tuple[list[tuple[Operation, str]], Operation | None]:
    """The answered operations with their answers, and the one that was under way."""
    answered: list[tuple[Operation, str]] = []
    under_way: Operation | None = None
    for line in path.read_text().splitlines():
        kind, _, text = line.partition(" ")
        if kind == "B":
            under_way = json.loads(text)
        elif under_way is not None:
            answered.append((under_way, text))
            under_way = None
    return answered, under_way


def assert_holds_what_was_answered(seen: Path, log: Path, scratch: Path) -> int:
    """Compare a directory of the volume with the replayed log; returns how many operations were answered."""
    answered, under_way = read_log(log)
    scratch.mkdir(parents=True)
    actor = Actor(str(scratch))
    for number, (operation, answer) in enumerate(answered):
        assert actor.do(operation) == answer, f"operation {number}, {operation}, was answered otherwise"
    without = tree.snapshot(scratch)
    if under_way is not None:
        actor.do(under_way)
    actor.end()
    allowed = (without, tree.snapshot(scratch))
    print("the last that were answered:", *answered[-12:], sep="\n  ")
    _assert_one_of(tree.snapshot(seen), allowed, under_way, _content_under_way(scratch, under_way))
    _assert_journal_grew_only(seen, without, scratch)
    return len(answered)


def _content_under_way(scratch: Path, under_way: Operation | None) -> bytes | None:
    """The file whose content is unknown, relative to the directory; a symbolic link may have led to it."""
    path = content_path(under_way) if under_way is not None else None
    if path is None:
        return None
    return os.fsencode(os.path.relpath(os.path.realpath(scratch / path), os.path.realpath(scratch)))


def _assert_one_of(
    seen: Tree, allowed: tuple[Tree, Tree], under_way: Operation | None, content: bytes | None
) -> None:
    """The operation under way may have happened or not; of content under way nothing is promised."""
    complaints = [_differences(seen, each, content) for each in allowed]
    if all(complaints):
        texts = ["\n".join(found[:30]) for found in complaints]
        raise AssertionError(
            f"under way: {under_way}\nwithout it (left: seen, right: wanted):\n{texts[0]}\n"
            f"with it:\n{texts[1]}"
        )


def _differences(seen: Tree, wanted: Tree, under_way: bytes | None) -> list[str]:
    blurred = _blurred(seen, under_way), _blurred(wanted, under_way)
    return tree.differences(*blurred, ignore=_IGNORED)


def _blurred(full: Tree, path: bytes | None) -> Tree:
    """The tree without the content of one inode, under all of its names."""
    if path is None or path not in full:
        return full
    twin = full[path].twin
    return {name: _without_content(entry) if entry.twin == twin else entry for name, entry in full.items()}


def _without_content(entry: Entry) -> Entry:
    return replace(entry, content="", size=0, mtime_ns=0) if entry.mode.startswith("-") else entry


def _assert_journal_grew_only(seen: Path, without: Tree, scratch: Path) -> None:
    """Even while a record is appended, the fsynced ones before it are there."""
    if b"journal" in without:
        size = without[b"journal"].size
        wanted = (scratch / "journal").read_bytes()[:size]
        assert (seen / "journal").read_bytes()[:size] == wanted, "fsynced records of the journal are lost"
