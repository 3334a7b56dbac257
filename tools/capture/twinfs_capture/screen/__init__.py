"""A screen, or a part of it, into a film or into frames."""
