"""The two legs of an open volume, in the roles that they have now."""

from __future__ import annotations

from twinfs.mirror.label import Leg
from twinfs.mirror.secondary import Secondary


class Pair:
    """Changed in one place only, mirror/roles.py."""

    def __init__(self, primary: Leg, secondary: Secondary) -> None:
        self.primary = primary
        self.secondary = secondary
