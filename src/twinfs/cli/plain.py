"""The commands that people and scripts call often, in their plainest form.

To load the command line's parser takes longer than the daemon takes to answer. So a command line that
holds nothing but words and known switches is taken apart here; whatever is not as plain as that, options
with a value, --help, and mistakes, is the parser's. Of those, an order that a daemon fulfils within moments
needs not even the rest of twinfs: see daemon/errand.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from twinfs.cli.talk import result, say

if TYPE_CHECKING:
    from twinfs.daemon.errand import Errand
    from twinfs.daemon.paths import Paths


class _Shape(NamedTuple):
    """How many words a command takes at least and at most, and which switches."""

    least: int
    most: int
    switches: frozenset[str]


_ORDER = frozenset({"--dry-run", "--json"})
SHAPES = {
    "status": _Shape(0, 1, frozenset({"--json"})),
    "sync": _Shape(1, 1, frozenset({"--allow-deletes", "--json"})),
    "resync": _Shape(1, 1, _ORDER),
    "detach": _Shape(1, 2, _ORDER),
    "attach": _Shape(1, 2, _ORDER),
}
UP_TO_DATE = "the secondary is up to date"


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
    return _perform(command[0], words, frozenset(switches))


def _perform(command: str, words: Sequence[str], switches: frozenset[str]) -> int:
    is_json, is_dry_run = "--json" in switches, "--dry-run" in switches
    allow_deletes = "--allow-deletes" in switches
    leg = words[1] if len(words) > 1 else "" if command == "resync" else "secondary"
    errand = None
    if command != "status" and not is_json and not is_dry_run:
        answer = _ask(words[0], request_of(command, leg, allow_deletes=allow_deletes))
        if isinstance(answer, str):
            result(f"volume {words[0]}: {answer or UP_TO_DATE}")
            return 0
        errand = answer
    if command == "status":
        from twinfs.cli.state import show_status

        return show_status(_paths(), words[0] if words else None, json=is_json)
    if command == "sync":
        from twinfs.cli.draining import drain

        return drain(_paths(), words[0], allow_deletes=allow_deletes, json=is_json, errand=errand)
    from twinfs.cli.ordering import carry_out
    from twinfs.model import Action, Order

    order = Order(Action(command), leg)
    return carry_out(_paths(), words[0], order, dry_run=is_dry_run, json=is_json, errand=errand)


def request_of(command: str, leg: str, *, allow_deletes: bool) -> dict[str, object]:
    """As daemon/protocol.py has it."""
    if command == "sync":
        return {"type": "sync", "allow_deletes": allow_deletes}
    return {"type": "recover", "order": {"action": command, "leg": leg}}


def _ask(name: str, request: dict[str, object]) -> str | Errand | None:
    from twinfs.daemon import errand
    from twinfs.daemon.directories import directories

    _, _, run_dir = directories(None, None, os.environ, is_root=os.geteuid() == 0)
    try:
        return errand.run(run_dir, name, request)
    except KeyboardInterrupt:
        say(f"the daemon goes on with it; look with: twinfs status {name}")
        raise


def _paths() -> Paths:
    from twinfs.daemon.paths import resolve

    return resolve(None, None, os.environ, is_root=os.geteuid() == 0)
