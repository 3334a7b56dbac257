"""Which files' contents a scrub reads. Metadata are always compared, of everything."""

from __future__ import annotations

import re
from dataclasses import dataclass

from twinfs.errors import UsageError
from twinfs.scrub.objects import Row
from twinfs.scrub.views import View

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")


@dataclass(frozen=True, slots=True)
class Plan:
    """`new`: never scrubbed, or changed since. `full`: everything. `8%`: that share of the bytes, the longest
    unscrubbed first."""

    text: str
    percent: float | None = None

    @staticmethod
    def parse(text: str) -> Plan:
        """UsageError for anything else."""
        if text in ("new", "full"):
            return Plan(text)
        match = _PERCENT.fullmatch(text)
        if match is None or not 0 < float(match[1]) <= 100:
            raise UsageError(f"plan: {text!r} is none of: new, full, or a share of the bytes such as 8%")
        return Plan(text, float(match[1]))

    def wants(self, row: Row | None, view: View) -> bool:
        """Whether a file is to be read, or (of a share) may be. What was recorded as it was written has not
        been read from any disk."""
        return self.text != "new" or row is None or not (row.is_scrubbed and row.known.is_about(view))
