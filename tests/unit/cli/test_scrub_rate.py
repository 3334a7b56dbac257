"""What `twinfs scrub --max-rate` takes for a rate."""

from __future__ import annotations

import pytest

from twinfs.cli.scrub import parse_rate
from twinfs.errors import UsageError


@pytest.mark.parametrize(
    ("text", "rate"), (("50M", 50 << 20), ("1.5k", 1536), ("2GiB/s", 2 << 30), ("100000", 100_000))
)
def test_a_rate_is_read_with_its_unit(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ("", "0", "fast", "-5M", "5", "0.9K"))
def test_what_is_no_rate_or_would_never_end_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="50M or 800K"):
        parse_rate(text)
