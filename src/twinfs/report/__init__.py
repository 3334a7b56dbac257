"""Values in, text or JSON out: pure, so that the same numbers read the same everywhere."""
