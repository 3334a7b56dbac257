"""Which copy is right, by what is known, and never by a guess."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest

from twinfs.model import BadLeg, MismatchKind
from twinfs.scrub.judge import Known, Side, judge, judge_link
from twinfs.scrub.views import View

FILE = View(stat.S_IFREG | 0o644, 1, 2, 0, 10, 1_000, b"", b"")
DIRECTORY = replace(FILE, mode=stat.S_IFDIR | 0o755, size=0)
KNOWN = Known(FILE, b"good", 10, 1_000)


def verdict(primary: Side | None, secondary: Side | None, known: Known | None) -> tuple[str, str] | None:
    found = judge(primary, secondary, known)
    return None if found is None else (found.kind.value, found.bad_leg.value)


def side(content: bytes = b"good", **fields: object) -> Side:
    return Side(replace(FILE, **fields), content)  # type: ignore[arg-type]  fields of View


def test_equal_copies_are_no_mismatch_whatever_is_known():
    for known in (None, KNOWN, Known(None), Known(FILE)):
        assert judge(side(), side(), known) is None


def test_the_copy_that_equals_the_record_is_right():
    assert verdict(side(), side(b"rot"), KNOWN) == ("content", "secondary")
    assert verdict(side(b"rot"), side(), KNOWN) == ("content", "primary")


def test_size_and_time_of_the_bad_copy_do_not_matter():
    assert verdict(side(), side(b"short", size=3), KNOWN) == ("content", "secondary")
    assert verdict(side(b"new", mtime_ns=5), side(), KNOWN) == ("content", "primary")


@pytest.mark.parametrize("known", [None, Known(None), Known(FILE), Known(FILE, b"other", 10, 1_000)])
def test_without_a_record_that_one_copy_equals_it_is_unknown(known):
    assert verdict(side(), side(b"rot"), known) == ("content", "unknown")


def test_a_record_of_another_size_or_time_tells_nothing():
    assert verdict(side(mtime_ns=2), side(b"rot", mtime_ns=2), KNOWN) == ("content", "unknown")
    assert verdict(side(size=11), side(b"rot", size=11), KNOWN) == ("content", "unknown")


def test_both_alike_but_not_as_recorded_is_reported_only_while_size_and_time_are_as_recorded():
    assert verdict(side(b"rot"), side(b"rot"), KNOWN) == ("content", "unknown")
    assert verdict(side(b"new", mtime_ns=2), side(b"new", mtime_ns=2), KNOWN) is None


def test_a_copy_that_cannot_be_read_is_bad():
    refused = Side(FILE, None, "Input/output error")
    assert verdict(refused, side(), None) == ("content", "primary")
    assert verdict(side(), refused, None) == ("content", "secondary")
    assert verdict(refused, refused, KNOWN) == ("content", "unknown")


@pytest.mark.parametrize(
    "change",
    [
        {"mode": stat.S_IFREG | 0o600},
        {"uid": 9},
        {"gid": 9},
        {"mtime_ns": 9},
        {"xattrs": b"digest"},
    ],
)
def test_metadata_are_judged_by_the_record(change):
    assert verdict(side(), side(**change), KNOWN) == ("metadata", "secondary")
    assert verdict(side(**change), side(), KNOWN) == ("metadata", "primary")
    assert verdict(side(), side(**change), Known(None, b"good", 10, 1_000)) == ("metadata", "unknown")


def test_metadata_that_both_legs_changed_are_unknown():
    first, second = side(mode=stat.S_IFREG | 0o600), side(xattrs=b"digest")
    assert verdict(first, second, KNOWN) == ("metadata", "unknown")


def test_another_type_is_judged_like_other_metadata():
    link = Side(replace(FILE, mode=stat.S_IFLNK | 0o777, size=0, target=b"t"))
    assert verdict(side(), link, KNOWN) == ("metadata", "secondary")


def test_what_only_the_primary_has_is_missing_on_the_secondary():
    for known in (None, KNOWN):
        assert verdict(side(b"any"), None, known) == ("missing", "secondary")


def test_what_only_the_secondary_has_is_told_by_what_is_known():
    assert verdict(None, side(), None) == ("extra", "secondary")
    assert verdict(None, side(), KNOWN) == ("missing", "primary")
    assert verdict(None, side(b"other"), KNOWN) == ("extra", "unknown")
    assert verdict(None, Side(DIRECTORY), Known(replace(DIRECTORY, mtime_ns=5))) == ("missing", "primary")
    assert verdict(None, Side(DIRECTORY), KNOWN) == ("extra", "unknown")
    assert verdict(None, side(), Known(None)) == ("extra", "unknown")


def test_links_are_judged_by_what_they_were():
    assert judge_link(True, is_linked_on_primary=True).bad_leg is BadLeg.SECONDARY
    assert judge_link(True, is_linked_on_primary=False).bad_leg is BadLeg.PRIMARY
    assert judge_link(False, is_linked_on_primary=True).bad_leg is BadLeg.PRIMARY
    assert judge_link(None, is_linked_on_primary=True).bad_leg is BadLeg.UNKNOWN
    assert judge_link(None, is_linked_on_primary=True).kind is MismatchKind.METADATA


def test_a_directory_that_a_disk_does_not_list_is_bad_there():
    refused = Side(DIRECTORY, None, "Input/output error")
    assert verdict(refused, Side(DIRECTORY), None) == ("content", "primary")
    assert verdict(Side(DIRECTORY), refused, None) == ("content", "secondary")
    assert verdict(Side(DIRECTORY), Side(DIRECTORY), None) is None
