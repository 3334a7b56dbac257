"""Fixtures of the tests that break disks."""

from faults.alongside import running

__all__ = ["running"]
