"""Disk images as trees: container, partition table, file system. Knows nothing of mirrors."""
