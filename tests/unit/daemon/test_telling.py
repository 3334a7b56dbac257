"""Who is to be told, as a settings file says it."""

from __future__ import annotations

import pytest

from twinfs.daemon.telling import parse_addresses, parse_command, require_outside
from twinfs.errors import UsageError


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("notify-send 'my disk' $TWINFS_KIND", ("notify-send", "my disk", "$TWINFS_KIND")),
        (["/opt/my hook", "a b", ""], ("/opt/my hook", "a b", "")),
        ((), ()),
    ],
)
def test_a_command_is_split_like_a_shell_does_and_a_list_is_taken_as_it_is(value, words):
    assert parse_command(value) == words


@pytest.mark.parametrize("value", ["", "  ", "'unclosed", [""], ["a", "b\0c"], "./hook", "bin/hook x"])
def test_a_command_that_cannot_be_run_is_refused(value):
    with pytest.raises(UsageError, match="on_event"):
        parse_command(value)


@pytest.mark.parametrize("value", ["root, me@example.org", ["root", "me@example.org"]])
def test_addresses_are_separated_by_commas_or_a_list(value):
    assert parse_addresses(value) == ("root", "me@example.org")


@pytest.mark.parametrize("value", ["", "a,", "-f@x", "a b", "a@b\nBcc: c", "<a@b>", ["a,b"]])
def test_what_sendmail_would_take_for_something_else_is_refused(value):
    with pytest.raises(UsageError, match="mail_to"):
        parse_addresses(value)


@pytest.mark.parametrize("path", ["/mnt/a/x.prom", "/mnt/a/../a/x.prom", "/mnt/a//deep/x.prom"])
def test_a_metrics_file_in_the_volume_is_refused(path):
    with pytest.raises(UsageError, match="lies inside /mnt/a"):
        require_outside(path, "/mnt/a/")


@pytest.mark.parametrize("path", [None, "/mnt/ab/x.prom", "/mnt/a/../x.prom"])
def test_a_metrics_file_beside_the_volume_is_fine(path):
    require_outside(path, "/mnt/a")
    require_outside(path, None)
