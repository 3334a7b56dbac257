"""The commands that people and scripts call often, in their plainest form.

To load the command line's parser takes longer than the daemon takes to answer. So a command line that
holds nothing but words and known switches is taken apart here; whatever is not as plain as that, options
with a value, --help, and mistakes, is the parser's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from twinfs.daemon.paths import Paths


class _Shape(NamedTuple):
    """How many words a command takes at least and at most, and which switches."""

    least: int
    most: int
    switches: frozenset[str]


_ORDER = frozenset({"--dry-run", "--json"})
SHAPES = {
    "status": _Shape(0, 1, frozenset({"--json"})),
    "sync": _Shape(1, 1, frozenset({"--allow-deletes"})),
    "resync": _Shape(1, 1, _ORDER),
    "detach": _Shape(1, 2, _ORDER),
    "attach": _Shape(1, 2, _ORDER),
}


def run_plainly(tokens: Sequence[str]) -> int | None:
    """The exit code; None where the parser is needed. Raises TwinfsError, KeyboardInterrupt."""
    command, rest = tokens[:1], tokens[1:]
    shape = SHAPES.get(command[0]) if command else None
    if shape is None:
        return None
    switches = [token for token in rest if token.startswith("-")]
    words = [token for token in rest if not token.startswith("-")]
    is_known = shape.switches.issuperset(switches) and len(set(switches)) == len(switches)
    if not is_known or not shape.least <= len(words) <= shape.most:
        return None
    from twinfs.daemon.paths import resolve

    paths = resolve(None, None, os.environ, is_root=os.geteuid() == 0)
    return _perform(command[0], words, frozenset(switches), paths)


def _perform(command: str, words: Sequence[str], switches: frozenset[str], paths: Paths) -> int:
    is_json = "--json" in switches
    if command == "status":
        from twinfs.cli.state import show_status

        return show_status(paths, words[0] if words else None, json=is_json)
    if command == "sync":
        from twinfs.cli.draining import drain

        return drain(paths, words[0], allow_deletes="--allow-deletes" in switches)
    from twinfs.cli.ordering import carry_out
    from twinfs.model import Action, Order

    action = Action(command)
    leg = "" if action is Action.RESYNC else "secondary"
    order = Order(action, words[1] if len(words) > 1 else leg)
    return carry_out(paths, words[0], order, dry_run="--dry-run" in switches, json=is_json)
