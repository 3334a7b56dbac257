"""What is in quarantine, for people and scripts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from twinfs.model import PutAside, Quarantined
from twinfs.report import human
from twinfs.report.json_lines import Json
from twinfs.report.plain_text import readable, readable_path


def quarantined_lines(found: Iterable[Quarantined]) -> Iterator[str]:
    """When it went there, on which leg, how large it is, where it was, and why; and the id where several were
    at one place."""
    every = list(found)
    places = Counter(each.path for each in every)
    for each in every:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.time))
        size = human.size(each.size_bytes) if each.kind in ("file", "directory") else each.kind
        own = f"\n{'':21}id {readable_path(each.id)}" if places[each.path] > 1 else ""
        slash = "/" if each.kind == "directory" else ""
        path = readable_path(each.path) + slash
        yield f"{moment}  {each.leg:<9} {size:>9}  {path}  ({readable_path(each.why)}){own}"


def quarantined_dict(found: Quarantined) -> dict[str, Json]:
    values = {**asdict(found), "id": readable(found.id), "path": readable(found.path)}
    return {"type": "quarantined", **values}


def copied_text(done: PutAside) -> str:
    return f"copied {human.count(done.objects, 'object')}, {human.size(done.bytes)}; they stay in quarantine"


def copied_dict(done: PutAside) -> dict[str, Json]:
    return {"type": "copied", "objects": done.objects, "bytes": done.bytes}


def purged_text(gone: Iterable[Quarantined], *, is_dry_run: bool) -> str:
    every = list(gone)
    size = human.size(sum(each.size_bytes for each in every))
    done = "would go" if is_dry_run else "are gone"
    return f"{human.count(len(every), 'object')}, {size}, {done}"


def purged_dict(gone: Iterable[Quarantined], *, is_dry_run: bool) -> dict[str, Json]:
    every = list(gone)
    total = sum(each.size_bytes for each in every)
    return {"type": "purged", "objects": len(every), "bytes": total, "is_dry_run": is_dry_run}
