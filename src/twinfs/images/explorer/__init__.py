"""Containers and file systems read by the library fs-explorer, behind our own protocol."""

from twinfs.images.explorer.contained import Contained, contained
from twinfs.images.explorer.containers import COMPRESSED_KINDS, DISK_KINDS, open_container
from twinfs.images.explorer.filesystem import open_file_system
from twinfs.images.explorer.kinds import prepare

__all__ = [
    "COMPRESSED_KINDS",
    "DISK_KINDS",
    "Contained",
    "contained",
    "open_container",
    "open_file_system",
    "prepare",
]
