"""Partition tables, read by ourselves: no library was right about all of them."""

from twinfs.images.partitions.detect import read_table
from twinfs.images.partitions.table import Partition, PartitionTable, Scheme

__all__ = ["Partition", "PartitionTable", "Scheme", "read_table"]
