"""Which events are urgent, and which are worth a mail."""

from __future__ import annotations

from typing import Final

from twinfs.model import Severity

_ORDINARY: Final = frozenset(
    ("mounted", "unmounted", "mode_changed", "secondary_detached", "replaced", "scrubbed")
)
"""What somebody asked for, and saw."""

_GOOD_NEWS: Final = frozenset(("secondary_back", "primary_back", "attention_over", "log_works", "test"))

_BAD_NEWS: Final = frozenset(
    (
        "deletions_held",
        "error",
        "log_failed",
        "mismatches_left",
        "mount_failed",
        "needs_attention",
        "primary_failed",
        "scrub_failed",
        "secondary_failed",
        "secondary_missing",
        "verify_failed",
    )
)


def severity_of(kind: str) -> Severity:
    """A kind that is not known here is a warning: better told too loudly than not at all."""
    if kind in _BAD_NEWS:
        return Severity.ERROR
    if kind in _ORDINARY or kind in _GOOD_NEWS:
        return Severity.INFO
    return Severity.WARNING


def is_worth_a_mail(kind: str) -> bool:
    """Everything but the ordinary: mails about what was just typed teach people not to read them."""
    return kind not in _ORDINARY
