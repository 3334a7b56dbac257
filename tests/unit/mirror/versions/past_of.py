"""The tree of a moment, restored beside the legs."""

from __future__ import annotations

import os
from pathlib import Path

from support.tree import Tree, snapshot
from twinfs.mirror.versions.history import History
from twinfs.mirror.versions.past import PastTree
from twinfs.mirror.versions.restoring import Restorer, plan
from unit.mirror.kit import Ground


def as_of(ground: Ground, moment: int, target: Path) -> Tree:
    """What a restore of everything to another place gives; nothing of it may be lost."""
    target.mkdir(parents=True)
    roots = [os.open(leg, os.O_RDONLY | os.O_DIRECTORY) for leg in (ground.secondary, ground.primary)]
    target_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        tree = PastTree(roots[0], History(roots).newest_first(moment))
        todo = plan(tree, b"", target_fd, b"then")
        assert (todo.conflicts, todo.lost) == ([], []), (todo.conflicts, todo.lost)
        Restorer(tree, target_fd, lambda path, size: None, is_in_place=False).run(todo)
    finally:
        for fd in (*roots, target_fd):
            os.close(fd)
    return snapshot(target / "then")
