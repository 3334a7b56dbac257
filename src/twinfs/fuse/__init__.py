"""The kernel's face of a volume: thin adapters, and the only place that imports pyfuse3."""

from twinfs.fuse import listing_cache

# Before anything here imports pyfuse3.
listing_cache.load()
