"""What is in a window of bytes, told from its first blocks: the kind, label and UUID that blkid would say."""

from twinfs.images.probes.found import Found
from twinfs.images.probes.probe import is_known, probe

__all__ = ["Found", "is_known", "probe"]
