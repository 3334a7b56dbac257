"""The kernel's face of a volume: thin adapters, and the only place that imports pyfuse3."""
