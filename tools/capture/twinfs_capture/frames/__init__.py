"""A recording mounted as its frames, decoded when they are read."""
