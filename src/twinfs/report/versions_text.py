"""Versions and restores, for people and scripts."""

from __future__ import annotations

import time
from dataclasses import asdict

from twinfs.model import Restored, Version
from twinfs.report import human
from twinfs.report.json_lines import Json
from twinfs.report.plain_text import readable, readable_path

_SHOWN = 10


def version_line(version: Version) -> str:
    """When it was gone, why, how large it was, and what it was called."""
    size = human.size(version.size_bytes) if version.kind == "file" else version.kind
    lost = "" if version.is_kept else "  (not kept)"
    return f"{version.at}  {version.why:<9} {size:>10}  {readable_path(version.path)}{lost}"


def version_dict(version: Version) -> dict[str, Json]:
    return {"type": "version", **asdict(version), "path": readable(version.path)}


def restored_text(done: Restored) -> str:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(done.at))
    lines = [f"restored {human.count(done.restored, 'object')}, {human.size(done.bytes)}, as of {moment}"]
    if done.equal:
        lines.append(f"  {human.count(done.equal, 'object')} were there already")
    if done.lost:
        lines.append(f"  {human.count(len(done.lost), 'object')} could not be had any more:")
        lines += [f"    {readable_path(path)}" for path in done.lost[:_SHOWN]]
        if len(done.lost) > _SHOWN:
            lines.append(f"    and {len(done.lost) - _SHOWN} more: --json lists all")
    return "\n".join(lines)


def restored_dict(done: Restored) -> dict[str, Json]:
    values = asdict(done)
    return {"type": "restored", **values, "lost": [readable(path) for path in done.lost]}
