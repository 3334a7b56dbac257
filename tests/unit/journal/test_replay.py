"""From records to what is pending."""

from __future__ import annotations

from twinfs.journal.ranges import Ranges
from twinfs.journal.records import (
    WHOLE_FILE,
    Abort,
    Applied,
    Cleared,
    Clock,
    Closed,
    Commit,
    Compare,
    Compared,
    Create,
    Exclude,
    Record,
    Remove,
    Rename,
    Stale,
    Swapping,
    Touched,
)
from twinfs.journal.replay import Recovered, recover


def made(path: bytes) -> Create:
    return Create(path, 0o100644, 0, 0, 0, b"")


def paths(found: Recovered) -> dict[int, bytes]:
    return {ino: stale.path for ino, stale in found.stale.items()}


def committed(number: int, change: Record, ino: int = 9) -> list[tuple[int, Record]]:
    return [(number, change), (number, Commit(ino))]


def test_a_committed_change_is_pending_with_its_inode() -> None:
    found = recover(committed(1, made(b"f"), 77))
    assert found.changes == {1: (made(b"f"), 77)}
    assert found.touched == {b"f", b""}
    assert found.last_number == 1


def test_an_aborted_change_never_was() -> None:
    found = recover([(1, made(b"f")), (1, Abort())])
    assert found.changes == {}
    assert found.touched == set()


def test_an_announced_change_is_doubtful() -> None:
    assert recover([(1, made(b"f"))]).changes == {1: (made(b"f"), None)}


def test_what_was_applied_is_no_longer_pending_but_its_times_may_be_behind() -> None:
    records = [*committed(1, made(b"f")), *committed(2, made(b"g")), *committed(3, made(b"d/h"))]
    found = recover([*records, (2, Applied())])
    assert list(found.changes) == [3]
    assert found.touched == {b"f", b"g", b"", b"d/h", b"d"}


def test_pending_changes_are_in_the_order_of_their_numbers() -> None:
    found = recover([(1, made(b"a")), *committed(2, made(b"b")), *committed(3, made(b"c"))])
    assert list(found.changes) == [1, 2, 3]


def test_a_rename_takes_what_is_stale_along() -> None:
    marks: list[tuple[int, Record]] = [(1, Stale(5, b"d/f", 0, 100)), (2, Stale(6, b"dd/f", 0, 100))]
    found = recover([*marks, *committed(3, Rename(b"d", b"e", False, 9))])
    assert paths(found) == {5: b"e/f", 6: b"dd/f"}


def test_an_exchange_swaps_what_is_stale() -> None:
    marks: list[tuple[int, Record]] = [(1, Stale(5, b"a", 0, 0)), (2, Stale(6, b"b/f", 0, 0))]
    found = recover([*marks, *committed(3, Rename(b"a", b"b", True, 5))])
    assert paths(found) == {5: b"b", 6: b"a/f"}


def test_renames_in_a_row_are_followed_to_the_end() -> None:
    records = [
        (1, Stale(5, b"a", 0, 10)),
        *committed(2, Rename(b"a", b"t", False, 5)),
        *committed(3, Rename(b"b", b"a", False, 6)),
        *committed(4, Rename(b"t", b"b", False, 5)),
    ]
    assert paths(recover(records)) == {5: b"b"}


def test_what_a_rename_replaces_is_stale_no_more() -> None:
    marks: list[tuple[int, Record]] = [(1, Stale(5, b"a", 0, 10)), (2, Stale(6, b"b", 0, 10))]
    assert paths(recover([*marks, *committed(3, Rename(b"a", b"b", False, 5))])) == {5: b"b"}


def test_a_refused_rename_moves_nothing() -> None:
    found = recover([(1, Stale(5, b"a", 0, 10)), (2, Rename(b"a", b"b", False, 5)), (2, Abort())])
    assert paths(found) == {5: b"a"}


def test_what_is_removed_is_stale_no_more_nor_what_was_below_an_exclusion() -> None:
    marks: list[tuple[int, Record]] = [(1, Stale(5, b"a", 0, 10)), (2, Stale(6, b"d/b", 0, 10))]
    assert paths(recover([*marks, *committed(3, Remove(b"a", False, True))])) == {6: b"d/b"}
    assert paths(recover([*marks, *committed(3, Exclude(b"d"))])) == {5: b"a"}


def test_a_mark_under_another_name_survives_the_removal_of_the_first() -> None:
    records = [
        (1, Stale(5, b"a", 0, 10)),
        (1, Stale(5, b"b", 0, 10)),
        *committed(2, Remove(b"a", False, False)),
    ]
    assert paths(recover(records)) == {5: b"b"}


def test_what_was_written_to_both_legs_is_known_until_it_is_copied() -> None:
    marks: list[tuple[int, Record]] = [(1, Stale(5, b"a", 0, 10)), (2, Stale(5, b"a", 0, 10, is_direct=True))]
    assert recover(marks).stale[5].direct == {2}
    assert recover([*marks, (1, Cleared(5))]).stale[5].direct == {2}
    later: list[tuple[int, Record]] = [*marks, (3, Stale(5, b"a", 0, 10)), (2, Cleared(5))]
    assert recover(later).stale[5].direct == set()


def test_cleared_numbers_are_done_and_later_ones_are_not() -> None:
    records: list[tuple[int, Record]] = [
        (1, Stale(5, b"a", 0, 10)),
        (2, Stale(5, b"a", 20, 30)),
        (3, Stale(5, b"a", 40, 50)),
        (2, Cleared(5)),
    ]
    found = recover(records)
    assert list(found.stale[5].ranges()) == [(40, 50)]
    assert recover([*records, (3, Cleared(5))]).stale == {}


def test_clearing_what_is_not_stale_is_harmless() -> None:
    assert recover([(1, Cleared(5))]).stale == {}


def test_a_mark_of_the_metadata_alone_has_no_range_and_a_whole_file_no_end() -> None:
    found = recover([(1, Stale(5, b"a", 0, 0)), (2, Stale(6, b"b", 4096, WHOLE_FILE))])
    assert list(found.stale[5].ranges()) == []
    assert list(found.stale[6].ranges()) == [(4096, Ranges.OPEN_END)]


def test_a_comparison_is_pending_until_it_is_done_and_follows_renames() -> None:
    records = [(1, Compare(b"d/e", 7)), (2, Compare(b"x", 0)), *committed(3, Rename(b"d", b"f", False, 9))]
    found = recover([*records, (2, Compared())])
    assert found.compares == {1: Compare(b"f/e", 7)}


def test_touched_paths_follow_renames() -> None:
    found = recover([(1, Touched(b"d/e")), *committed(2, Rename(b"d", b"f", False, 9))])
    assert found.touched == {b"f/e", b""}


def test_what_an_exchange_was_about_to_swap_is_remembered() -> None:
    assert recover([(4, Swapping(11))]).swapping == {4: 11}


def test_only_a_log_that_ends_closed_is_closed() -> None:
    assert recover([(3, Closed())]).is_closed
    assert not recover([(3, Closed()), (4, Touched(b"a"))]).is_closed
    assert not recover([]).is_closed


def test_the_last_number_is_the_highest_of_all() -> None:
    assert recover([(9, Stale(1, b"a", 0, 0)), (4, Cleared(1))]).last_number == 9


def test_a_rename_between_two_names_of_one_file_changes_nothing() -> None:
    """rename(2): if both names are links to one file, nothing is done."""
    records = [(1, Stale(5, b"b", 0, 10)), *committed(2, Rename(b"a", b"b", False, 5), 5)]
    assert paths(recover(records)) == {5: b"b"}


def test_what_is_pending_is_known_with_its_time_where_the_log_tells_it() -> None:
    records = [
        *committed(1, made(b"unknown")),
        (0, Clock(100.0)),
        *committed(2, made(b"f")),
        (3, Stale(77, b"f", 0, 10)),
        (4, Compare(b"d", 0)),
        (0, Clock(200.0)),
        (3, Stale(77, b"g", 0, 10)),
        *committed(5, made(b"h")),
        (6, Stale(78, b"h", 0, 10)),
        (6, Cleared(78)),
        (4, Compared()),
    ]
    assert recover(records).since == {2: 100.0, 3: 100.0, 5: 200.0}
