"""LUKS1 and LUKS2 volumes, opened with a passphrase. Nothing is written, and device-mapper is not needed.

Sources: "LUKS On-Disk Format Specification", versions 1.2.3 and 2 (cryptsetup's documents).
"""

from twinfs.images.luks.derive import Derivation, derive
from twinfs.images.luks.keyring import Keyring

__all__ = ["Derivation", "Keyring", "derive"]
