"""Mismatches and finished scrubs, for people and for scripts."""

from __future__ import annotations

from twinfs.model import BadLeg, Mismatch, ReadMethod, ScrubRun
from twinfs.report import human
from twinfs.report.json_lines import Json
from twinfs.report.plain_text import readable

_HOW = {ReadMethod.DIRECT: "past the page cache", ReadMethod.DROPPED: "after dropping the page cache"}


def mismatch_dict(found: Mismatch) -> dict[str, Json]:
    return {
        "type": "mismatch",
        "path": readable(found.path),
        "kind": found.kind.value,
        "bad_leg": found.bad_leg.value,
        "repaired": found.repaired,
        "detail": readable(found.detail),
    }


def run_dict(run: ScrubRun) -> dict[str, Json]:
    """The last line of `scrub --json`."""
    return {
        "type": "summary",
        "files": run.files,
        "bytes": run.bytes,
        "mismatches": run.mismatches,
        "repaired": run.repaired,
        "seconds": round(run.seconds, 3),
        "busy": run.busy,
        "plan": run.plan,
        "read": {"primary": run.read[0].value, "secondary": run.read[1].value},
    }


def mismatch_line(found: Mismatch) -> str:
    """For example "photos/a.jpg: content, the secondary's copy is bad (the bytes differ); repaired"."""
    blame = "which copy is bad is unknown" if found.bad_leg is BadLeg.UNKNOWN else f"{found.bad_leg} is bad"
    end = "; repaired" if found.repaired else ""
    return f"{found.path or '.'}: {found.kind}, {blame} ({found.detail}){end}"


def run_text(volume: str, run: ScrubRun) -> str:
    """Two or three lines."""
    verdict = "both legs are equal"
    if run.mismatches:
        left = run.mismatches - run.repaired
        verdict = f"{run.mismatches} mismatched, {run.repaired} repaired, {left} left"
    rate = f", {human.size(run.bytes / run.seconds)}/s of each" if run.seconds >= 1 else ""
    first, second = (_HOW[method] for method in run.read)
    how = first if first == second else f"the primary {first}, the secondary {second}"
    lines = [
        f"volume {volume}: {verdict}",
        f"  {human.count(run.files, 'object')} compared, {human.size(run.bytes)} read from each disk"
        f" in {human.duration(run.seconds)}{rate}, {how}",
    ]
    if run.busy:
        lines.append(
            f"  {human.count(run.busy, 'file')} being written all the while: scrub again (--plan new)"
        )
    return "\n".join(lines)
