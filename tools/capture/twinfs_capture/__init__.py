"""twinfs-capture: a disk into an image, a screen into a film. May import twinfs; never the reverse."""
