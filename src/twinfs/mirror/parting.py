"""What labels tell of legs that parted: when that was, what each was then, and what it was used as since."""

from __future__ import annotations

import time

from twinfs.journal.records import Header
from twinfs.mirror.label import Label, LabelChange
from twinfs.model import Role


def goes_on_alone(label: Label, *, together_until: float = 0.0) -> LabelChange:
    """What a leg's label has to say from now on. `together_until` is in seconds since the epoch, 0.0 for
    now."""
    return LabelChange(
        events=label.events + 1,
        is_alone=True,
        was=label.role or label.leg,
        together_until=together_until or time.time(),
    )


def history(path: str, label: Label) -> str:
    """One line about a leg of two that were each used alone."""
    role = label.role or label.leg
    used = f"last used {_moment(label.changed)}, events {label.events}"
    if not label.is_alone:
        return f"{label.leg} leg {path}: the {role}, not used alone; {used}"
    before = "together with the other until a time that it does not say"
    if label.was is not None:
        before = f"the {label.was} when both were last together, {_moment(label.together_until)}"
        before += f", events {label.events - 1}"
    return f"{label.leg} leg {path}: {before}; used alone since then, as the {role}: {used}"


def roles_together(labels: list[Label]) -> list[Role]:
    """What two legs were when they were last together; else what the settings name them."""
    known = [label.was if label.was is not None else label.role or label.leg for label in labels]
    return known if len(set(known)) == len(labels) else [label.leg for label in labels]


def may_have_split(path: str, label: Label, other_path: str, left: Header | None) -> str | None:
    """What to tell whoever mounts the leg at `path` alone for the first time since it was with the other.

    `left` begins the intent log of the volume's last use here: of another session than the label's, it was
    a use without this disk.
    """
    if label.is_alone or label.is_detached:
        return None
    text = (
        f"{path} goes on without {other_path}: it was last in use with it {_moment(label.changed)},"
        f" event counter {label.events}."
    )
    if left is not None and label.session and left.session != label.session:
        text += " The intent log is of a later use, without this disk: this copy is the older one."
    text += " If the other disk has gone on alone since then, or does so, both are refused as a split brain"
    return f"{text} when they are there together"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
