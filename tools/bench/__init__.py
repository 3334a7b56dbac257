"""Compares the speed of twinfs with a plain directory, bindfs and rsync; see `python tools/bench --help`."""
