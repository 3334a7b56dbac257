"""What a capture says in the end: text for people, JSON lines for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from twinfs.report import human, json_lines
from twinfs_capture.disk.hashes import CHECKERS
from twinfs_capture.disk.settings import Outcome, Settings

_MANY: Final = 100


def text_lines(settings: Settings, outcome: Outcome) -> Iterator[str]:
    rate = human.size(outcome.taken_bytes / outcome.seconds) if outcome.seconds > 0 else "0 B"
    unread_bytes = sum(length for _, length in outcome.unread)
    but = f", all but {human.size(unread_bytes)}" if unread_bytes else ""
    yield (
        f"{settings.dest}: {human.size(outcome.read_bytes)} of {human.size(outcome.size_bytes)} read{but};"
        f" {human.size(outcome.taken_bytes)} now, in {human.duration(outcome.seconds)} ({rate}/s)"
    )
    if outcome.unread:
        yield (
            f"not read, zeros in the image: {human.count(len(outcome.unread), 'area')},"
            f" {human.size(unread_bytes)} (map: {settings.map})"
        )
        yield from _areas(outcome.unread, f"the rest is in {settings.map}")
    if outcome.mismatches is not None:
        if outcome.mismatches:
            yield f"compared: {human.count(len(outcome.mismatches), 'area')} of SOURCE and DEST differ"
            yield from _areas(outcome.mismatches, "use --json for all of them")
        else:
            yield "compared: SOURCE and DEST are equal wherever SOURCE could be read"
    for path, (name, digest) in zip(outcome.check_files, outcome.digests.items(), strict=True):
        yield f"{name}: {digest} (check with: {CHECKERS[name]} -c {path.name})"


def _areas(areas: list[tuple[int, int]], rest: str) -> Iterator[str]:
    for offset_bytes, length in areas[:_MANY]:
        yield f"  offset {offset_bytes}, length {length}"
    if len(areas) > _MANY:
        yield f"  and {len(areas) - _MANY} more; {rest}"


def json_records(settings: Settings, outcome: Outcome) -> Iterator[str]:
    for offset_bytes, length in outcome.unread:
        yield json_lines.line({"type": "unread", "offset_bytes": offset_bytes, "length_bytes": length})
    for offset_bytes, length in outcome.mismatches or []:
        yield json_lines.line({"type": "mismatch", "offset_bytes": offset_bytes, "length_bytes": length})
    yield json_lines.line(
        {
            "type": "summary",
            "source": str(settings.source),
            "image": str(settings.dest),
            "map": str(settings.map),
            "format": settings.format.value,
            "size_bytes": outcome.size_bytes,
            "read_bytes": outcome.read_bytes,
            "taken_bytes": outcome.taken_bytes,
            "unread_bytes": sum(length for _, length in outcome.unread),
            "unread_areas": len(outcome.unread),
            "seconds": round(outcome.seconds, 3),
            "hashes": dict(outcome.digests),
            "is_equal": None if outcome.mismatches is None else not outcome.mismatches,
        }
    )
