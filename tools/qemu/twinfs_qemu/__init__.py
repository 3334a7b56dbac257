"""Virtual machines through QEMU: boot what you keep."""
