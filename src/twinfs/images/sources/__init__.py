"""Windows of bytes: an image file, its parts end to end, a stretch of another window."""

from twinfs.images.sources.cache import CachedSource
from twinfs.images.sources.file import FileSource
from twinfs.images.sources.joined import JoinedSource
from twinfs.images.sources.window import Window

__all__ = ["CachedSource", "FileSource", "JoinedSource", "Window"]
