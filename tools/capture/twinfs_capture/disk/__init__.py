"""A device, partition or file into an image, with ddrescue's map of what could be read."""
