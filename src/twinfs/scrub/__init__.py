"""Proof that both legs are right: read them from the disks, compare, tell which copy is bad, mend it."""
