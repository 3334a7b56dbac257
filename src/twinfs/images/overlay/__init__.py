"""Changes to an image, kept beside it: the image is never written.

store     one directory: who may use it, which image it belongs to, transactions
objects   what was changed of an object: attributes, links, extended attributes
entries   what was changed of a directory: names that were put, names that were taken away
contents  files of bytes, and which pieces of a file are in them
merged    image and changes as one `FileSystem`, for commands
changes   what was changed, as a list
"""

from twinfs.images.overlay.store import Store

__all__ = ["Store"]
