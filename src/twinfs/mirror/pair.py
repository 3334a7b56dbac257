"""The two legs of an open volume, in the roles that they have now, and where they are."""

from __future__ import annotations

from twinfs.mirror.label import Leg
from twinfs.mirror.secondary import Secondary
from twinfs.model import VolumeConfig


class Pair:
    """Roles are changed in mirror/roles.py only, places in mirror/rescue.py."""

    def __init__(self, config: VolumeConfig, primary: Leg, secondary: Secondary) -> None:
        self.config = config
        self.primary = primary
        self.secondary = secondary
        self.primary_problem = ""
        """Why the primary cannot be written any more, while nothing could take its place; see health.py."""
