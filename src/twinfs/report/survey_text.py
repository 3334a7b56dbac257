"""A dry run of a recovery, for people."""

from __future__ import annotations

from twinfs.model import Action, Survey
from twinfs.report import human
from twinfs.report.plain_text import readable_path


def survey_text(volume: str, action: Action, survey: Survey) -> str:
    """Several lines without a final newline."""
    lines = [f"volume {volume}: {action} would find (nothing was changed):"]
    if survey.files:
        lines.append(_line("to look at", human.count(survey.files, "object"), survey.bytes))
    for label, count in (
        ("missing on the secondary", survey.missing),
        ("different", survey.differing),
        ("only on the secondary", survey.extra),
    ):
        lines.append(f"  {label:<26} {count}")
    lines.append(f"  {'to copy':<26} {human.size(survey.bytes_to_copy)}")
    lines += [f"    {readable_path(example)}" for example in survey.examples]
    return "\n".join(lines)


def _line(label: str, count: str, size: int) -> str:
    return f"  {label:<26} {count}, {human.size(size)}"
