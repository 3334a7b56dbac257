"""From an image file to the disk in it: raw, split, virtual disks, compressed; several within each other."""

from twinfs.images.containers.open import Disk, open_disk

__all__ = ["Disk", "open_disk"]
