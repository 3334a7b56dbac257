"""twinfs keeps a directory tree on two ordinary disks, live."""

__version__ = "0.1.0"
