"""Which copy is right. Pure: what both legs have and what is known of the object go in, a verdict comes out.

Nothing is guessed. A copy is bad only where the record, which says what both legs once were, equals the
other one; or where the leg itself refuses to give it. Everything else is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinfs.model import BadLeg, MismatchKind
from twinfs.scrub.views import View, differing, field


@dataclass(frozen=True, slots=True)
class Known:
    """What both legs were when they were last known good.

    `view` is None where only content is known. `content` is the hash of a file's bytes, None where that is
    not known, for a file of `content_size` bytes and `content_mtime_ns`.
    """

    view: View | None
    content: bytes | None = None
    content_size: int = 0
    content_mtime_ns: int = 0

    def is_about(self, view: View) -> bool:
        """Whether the content's hash was taken of a file of this size and time."""
        return (
            self.content is not None
            and view.is_file
            and (view.size, view.mtime_ns) == (self.content_size, self.content_mtime_ns)
        )


@dataclass(frozen=True, slots=True)
class Side:
    """One leg's object. `content` is the hash of a regular file's bytes on the disk; `error` is why there
    is none, or why a directory cannot be listed."""

    view: View
    content: bytes | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: MismatchKind
    bad_leg: BadLeg
    detail: str


def judge(primary: Side | None, secondary: Side | None, known: Known | None) -> Verdict | None:
    """None when all is well. Links are judged apart, see `judge_link`."""
    if primary is None or secondary is None:
        return _one_sided(primary, secondary, known)
    if primary.error or secondary.error or (primary.view.is_file and secondary.view.is_file):
        verdict = _contents(primary, secondary, known)
        if verdict is not None:
            return verdict
    return _metadata(primary.view, secondary.view, known)


def _contents(primary: Side, secondary: Side, known: Known | None) -> Verdict | None:
    content = MismatchKind.CONTENT
    if primary.error or secondary.error:
        detail = f"cannot be read: {primary.error or secondary.error}"
        if primary.error and secondary.error:
            return Verdict(content, BadLeg.UNKNOWN, "neither copy can be read: " + primary.error)
        return Verdict(content, BadLeg.PRIMARY if primary.error else BadLeg.SECONDARY, detail)
    is_first, is_second = _is_known(primary, known), _is_known(secondary, known)
    if primary.content == secondary.content:
        if known is None or is_first or not known.is_about(primary.view):
            return None
        if not known.is_about(secondary.view):
            return None
        return Verdict(
            content,
            BadLeg.UNKNOWN,
            "both copies are equal, but not what they were; size and time have not changed",
        )
    bad = BadLeg.UNKNOWN
    if is_first != is_second:
        bad = BadLeg.SECONDARY if is_first else BadLeg.PRIMARY
    return Verdict(content, bad, _content_detail(primary.view, secondary.view))


def _is_known(side: Side, known: Known | None) -> bool:
    return known is not None and known.is_about(side.view) and side.content == known.content


def _content_detail(primary: View, secondary: View) -> str:
    if primary.size != secondary.size:
        return f"{primary.size} bytes on the primary, {secondary.size} on the secondary"
    if primary.mtime_ns == secondary.mtime_ns:
        return "the bytes differ; size and time do not"
    return "the bytes differ"


def _metadata(primary: View, secondary: View, known: Known | None) -> Verdict | None:
    fields = differing(primary, secondary)
    if not fields:
        return None
    detail = f"{', '.join(fields)} differ" if len(fields) > 1 else f"{fields[0]} differs"
    return Verdict(MismatchKind.METADATA, _blame(primary, secondary, known, fields), detail)


def _blame(primary: View, secondary: View, known: Known | None, fields: tuple[str, ...]) -> BadLeg:
    """The one leg that differs from what is known in every field in question."""
    if known is None or known.view is None:
        return BadLeg.UNKNOWN
    blamed: set[BadLeg] = set()
    for name in fields:
        expected = field(known.view, name)
        if field(primary, name) == expected:
            blamed.add(BadLeg.SECONDARY)
        elif field(secondary, name) == expected:
            blamed.add(BadLeg.PRIMARY)
        else:
            return BadLeg.UNKNOWN
    return blamed.pop() if len(blamed) == 1 else BadLeg.UNKNOWN


def _one_sided(primary: Side | None, secondary: Side | None, known: Known | None) -> Verdict | None:
    missing, extra = MismatchKind.MISSING, MismatchKind.EXTRA
    if primary is not None:
        # Copying takes nothing away: what the primary has is the volume's.
        return Verdict(missing, BadLeg.SECONDARY, "only the primary has it")
    if secondary is None:
        return None
    if known is None:
        return Verdict(extra, BadLeg.SECONDARY, "only the secondary has it, and it never was in the volume")
    if is_as_known(secondary, known):
        return Verdict(missing, BadLeg.PRIMARY, "only the secondary has it, as it was when both had it")
    return Verdict(extra, BadLeg.UNKNOWN, "only the secondary has it, but not as it was when both had it")


def is_as_known(side: Side, known: Known) -> bool:
    """Whether this is still what both legs had."""
    if known.view is None:
        return False
    if side.view.is_file and known.content is not None:
        return _is_known(side, known)
    # A directory's time moved with what was lost beside it.
    ignored = {"mtime"} if side.view.is_directory else set()
    return not set(differing(side.view, known.view)) - ignored


def judge_link(was_linked: bool | None, *, is_linked_on_primary: bool) -> Verdict:
    """Two names are one file on one leg and two on the other. `was_linked` is what is known, or None."""
    where = "primary" if is_linked_on_primary else "secondary"
    detail = f"another name of the same file on the {where} only"
    if was_linked is None:
        return Verdict(MismatchKind.METADATA, BadLeg.UNKNOWN, detail)
    bad = BadLeg.SECONDARY if was_linked == is_linked_on_primary else BadLeg.PRIMARY
    return Verdict(MismatchKind.METADATA, bad, detail)
