"""Where a leg keeps what is not the volume's: below `.twinfs` at its root."""

from __future__ import annotations

from typing import Final

TEMPORARY: Final = b".twinfs/tmp"
"""Copies on their way; emptied at every start."""

VERSIONS: Final = b".twinfs/versions"
"""Old copies, see mirror/versions/."""
