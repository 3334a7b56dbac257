"""Two legs as one tree: the write path, the secondary's catching up, comparing everything."""
