"""Machines that run: their names, their state, QEMU and its monitor."""
