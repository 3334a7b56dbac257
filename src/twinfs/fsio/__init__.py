"""System calls, relative to directory descriptors, synchronous, without policy."""
