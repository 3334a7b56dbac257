"""Compares twinfs-capture with dd, GNU ddrescue and itself; see `python tools/bench capture --help`."""
