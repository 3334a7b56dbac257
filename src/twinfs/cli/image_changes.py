"""`twinfs image changes`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import Json
from twinfs.cli.talk import result, say
from twinfs.images.overlay import Store
from twinfs.images.overlay.changes import Change, ChangeKind, Changes
from twinfs.report import human, json_lines
from twinfs.report.image_text import printable


def changes(
    overlay: Annotated[str, Parameter(help="The directory that an image was mounted with.")],
    /,
    *,
    json: Json = False,
) -> int:
    """List what was changed in an image mounted with an overlay.

    Added, changed, removed and renamed, with the paths that the mount shows. A
    directory in which names changed is not listed for that alone. Also while
    it is mounted.

    For example:

        twinfs image changes ~/changes
        twinfs image changes ~/changes --json
    """
    store = Store(overlay, is_locked=False)
    try:
        found = Changes(store).all()
        image = store.meta("image")
    finally:
        store.close()
    for change in found:
        result(_json(change) if json else _text(change))
    if not json:
        held = human.size(sum(change.held_bytes for change in found))
        say(f"{human.count(len(found), 'change')} to {image}, {held} of contents")
    return 0


def _text(change: Change) -> str:
    path = printable(_decoded(change.path))
    if change.kind is ChangeKind.RENAMED and change.old_path is not None:
        return f"renamed {printable(_decoded(change.old_path))} -> {path}"
    return f"{change.kind} {path}"


def _json(change: Change) -> str:
    return json_lines.line(
        {
            "type": "change",
            "kind": change.kind.value,
            "path": _decoded(change.path),
            "object": change.object or None,
            "old_path": None if change.old_path is None else _decoded(change.old_path),
            "held_bytes": change.held_bytes,
        }
    )


def _decoded(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
